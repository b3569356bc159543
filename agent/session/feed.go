package session

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/eventlog"
)

// feed is what one connection of the bus says. While the bus goes from one
// connection to the next there are two, which say the same: the log's sequence
// tells what is news.
type feed struct {
	link   *bus.Link
	live   bus.Subscription
	inbox  string
	stands bool
	synced bool            // an answer that came here was believed
	await  []chan struct{} // closed once it was

	dropped int               // live values that found no place, as last seen
	last    map[string]string // the bucket's sequence of each Deployment's last value
}

// received is a message that came on a feed.
type received struct {
	feed *feed
	live bool // else it is an answer
	msg  *nats.Msg
}

// change is what became of a connection.
type change struct {
	link   *bus.Link
	joined *feed         // a new one
	synced chan struct{} // to be closed once a sync was answered there
	stands bool
}

// join implements bus.Part.
func (s *Session) join(l *bus.Link) error {
	f := &feed{link: l, inbox: l.NewInbox(), last: map[string]string{}}
	pass := func(live bool) func(*nats.Msg) {
		return func(m *nats.Msg) {
			select {
			case <-s.ended:
			case s.messages <- received{feed: f, live: live, msg: m}:
			}
		}
	}
	subject := eventlog.LiveSubject(s.options.Device, eventlog.Wildcard)
	var err error
	if f.live, err = l.Subscribe(subject, liveBuffer, pass(true)); err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	if _, err = l.Subscribe(f.inbox, answerBuffer, pass(false)); err != nil {
		return fmt.Errorf("subscribe %s: %w", f.inbox, err)
	}
	s.tell(change{link: l, joined: f})
	return nil
}

// up implements bus.Part.
func (s *Session) up(l *bus.Link) { s.tell(change{link: l, stands: true}) }

// down implements bus.Part.
func (s *Session) down(l *bus.Link) { s.tell(change{link: l}) }

func (s *Session) tell(c change) {
	select {
	case <-s.ended:
	case s.told <- c:
	}
}

// ready implements bus.Part: the device knows the whole desired state as it was
// asked for on this connection, and hears there what changes.
func (s *Session) ready(ctx context.Context, l *bus.Link) error {
	synced := make(chan struct{})
	s.tell(change{link: l, synced: synced})
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no answer to a sync: %w", ctx.Err())
	case <-synced:
		return nil
	}
}

// take takes what became of a connection.
func (s *Session) take(c change) {
	if c.joined != nil {
		s.feeds = append(s.feeds, c.joined)
		return
	}
	f := s.feed(c.link)
	if f != nil && c.synced != nil {
		f.await = append(f.await, c.synced)
		f.release()
		return
	}
	if f == nil || f.stands == c.stands {
		return
	}
	alone := s.newest() == nil
	if f.stands = c.stands; !f.stands {
		s.lost(f)
		return
	}
	f.last = map[string]string{} // what it missed is asked for
	if alone {
		s.begin()
		return
	}
	s.askSoon()
}

// lost takes that a connection was lost. What another one says goes on.
func (s *Session) lost(f *feed) {
	if f.link.Closed() {
		for i := range s.feeds {
			if s.feeds[i] == f {
				s.feeds = append(s.feeds[:i:i], s.feeds[i+1:]...)
				break
			}
		}
	}
	switch {
	case s.newest() == nil:
		s.question, s.next = nil, time.Time{}
	case s.question != nil && s.question.feed == f:
		s.ask()
	}
}

// release lets go who waits for an answer on this feed.
func (f *feed) release() {
	if !f.synced {
		return
	}
	for _, c := range f.await {
		close(c)
	}
	f.await = nil
}

func (s *Session) feed(l *bus.Link) *feed {
	for _, f := range s.feeds {
		if f.link == l {
			return f
		}
	}
	return nil
}

// newest is the feed of the last connection that was opened and stands.
func (s *Session) newest() (newest *feed) {
	for _, f := range s.feeds {
		if f.stands {
			newest = f
		}
	}
	return newest
}
