package reader_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// losing loses one message of the server's, once: the nth, by a consumer the report of
// device d<n>, by direct gets the nth answer of a batch.
func losing(n int) func(string) bool {
	var lost atomic.Bool
	var answers atomic.Int64
	return func(subject string) bool {
		is := subject == eventlog.StateSubject(fmt.Sprintf("d%d", n), "web")
		if strings.HasPrefix(subject, "_INBOX.") && strings.Count(subject, ".") == 1 {
			is = answers.Add(1) == int64(n)
		}
		return is && !lost.Swap(true)
	}
}

// A message that the network loses on its way is read again: nobody folds a log
// with a hole in it.
func TestAMessageThatIsLostOnTheWayIsReadAgain(t *testing.T) {
	t.Parallel()
	const n = 10
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		for name, lost := range map[string]int{"the first": 1, "one in the middle": 5, "the last": n, "the end of a batch": n + 1} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := natstest.Start(t, natstest.PeoplesAPI(t))
				_, js := s.Connect(t)
				natstest.EnsureLog(t, js, 1)
				for i := range n {
					natstest.ReportState(t, js, fmt.Sprintf("d%d", i+1), "web")
				}
				want := make([]string, n)
				for i := range want {
					want[i] = fmt.Sprintf("%d d%d", i+1, i+1)
				}
				p := s.Proxy(t)
				p.Drop(losing(lost))
				_, slow := p.Connect(t)
				if got := read(t, as(slow), reader.Options{}); strings.Join(got, ",") != strings.Join(want, ",") {
					t.Errorf("read %v, want %v", got, want)
				}
				p.Drop(losing(lost))
				f := follow(t.Context(), as(slow), reader.Options{})
				for i := range uint64(n) {
					f.expect(t, i+1)
				}
				p.Drop(losing(lost))
				var stored []uint64
				for m, err := range reader.Stored(t.Context(), as(slow), eventlog.LogStream, 0) {
					if err != nil {
						t.Fatal(err)
					}
					stored = append(stored, m.Sequence)
				}
				if len(stored) != n || stored[n-1] != n {
					t.Errorf("the stored messages are %v, want 1 to %d", stored, n)
				}
			})
		}
	})
}

// A connection that gives nothing for some seconds has not come to the end of
// anything.
func TestAStalledConnectionIsNotTheEnd(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, as way) {
		t.Parallel()
		const n = 20_000 // more than one reader asks for at once
		s := natstest.Start(t, natstest.PeoplesAPI(t))
		_, js := s.Connect(t)
		natstest.EnsureLog(t, js, 1)
		for i := range n {
			if _, err := js.PublishAsync(eventlog.StateSubject(fmt.Sprintf("d%d", i), "web"), []byte(`{}`), jetstream.WithStallWait(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		for name, stall := range map[string]time.Duration{"for 4 s": 4 * time.Second, "for 8 s": 8 * time.Second} {
			t.Run("stored messages, "+name, func(t *testing.T) {
				t.Parallel()
				p := s.Proxy(t)
				_, slow := p.Connect(t)
				next := uint64(1)
				for m, err := range reader.Stored(t.Context(), as(slow), eventlog.LogStream, 0) {
					if err != nil {
						t.Fatal(err)
					}
					if m.Sequence != next {
						t.Fatalf("sequence %d came, want %d", m.Sequence, next)
					}
					if next++; m.Sequence == n/8 {
						p.Stall(stall)
					}
				}
				if next != n+1 {
					t.Errorf("reading ended after %d messages of %d", next-1, n)
				}
			})
			t.Run("events, "+name, func(t *testing.T) {
				t.Parallel()
				p := s.Proxy(t)
				_, slow := p.Connect(t)
				next := uint64(1)
				for e, err := range reader.Read(t.Context(), as(slow), reader.Options{}) {
					if err != nil && !errors.Is(err, eventlog.ErrForeign) {
						t.Fatal(err)
					}
					if e.Sequence != next {
						t.Fatalf("sequence %d came, want %d", e.Sequence, next)
					}
					if next++; e.Sequence == n/8 {
						p.Stall(stall)
					}
				}
				if next != n+1 {
					t.Errorf("reading ended after %d events of %d", next-1, n)
				}
			})
		}
	})
}

// Small messages end a request by their number, with bytes left, which the server
// says too. A reader that took it for an error began again every 2,000 messages, and
// was five times slower: it had fifteen consumers.
func TestManySmallMessagesAreReadInOneSession(t *testing.T) {
	t.Parallel()
	const n = 30_000
	s := natstest.Start(t)
	nc, js := s.Connect(t)
	natstest.EnsureLog(t, js, 1)
	var consumers atomic.Int64
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED."+eventlog.LogStream+".>", func(*nats.Msg) { consumers.Add(1) }); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.PublishAsync(eventlog.InfoSubject("d1"), fmt.Appendf(nil, `{"device_id":"%d"}`, i), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	came := 0
	for _, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		came++
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if made := consumers.Load(); came != n || made > 7 { // another one each time that a slow machine was silent for seconds
		t.Errorf("%d messages came by %d consumers, want %d by one", came, made, n)
	}
}

// A reader holds few bytes of what it has not read yet, however large the
// messages: what the server has sent is in its memory. A reader that a slow machine
// makes begin again has thrown away what it held, and so the budget is counted for
// each consumer that it had.
func TestAReaderHoldsNoMoreThanItsBudget(t *testing.T) {
	t.Parallel()
	const n, half = 300, logstream.MaxMessageBytes / 2
	s := natstest.Start(t, natstest.PeoplesAPI(t))
	nc, js := s.Connect(t)
	natstest.EnsureLog(t, js, 1)
	var consumers atomic.Int64
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED."+eventlog.LogStream+".>", func(*nats.Msg) { consumers.Add(1) }); err != nil {
		t.Fatal(err)
	}
	large := []byte(strings.Repeat("x", logstream.MaxMessageBytes))
	for i := range n {
		if _, err := js.Publish(t.Context(), eventlog.InfoSubject(fmt.Sprintf("d%d", i%2+1)), large); err != nil {
			t.Fatal(err)
		}
	}
	budget := int64(reader.PullBytes + 64<<10) // and what is not messages
	// Each batch of direct gets repeats one message, which is thrown away: one of so
	// many that are new.
	const directBudget = 16 << 20
	repeats := map[string]int64{"Read by direct gets": 16, "Read by direct gets on two filters": 8}
	for name, read := range map[string]func(jetstream.JetStream, func(int)){
		"Read": func(js jetstream.JetStream, each func(int)) {
			for e, err := range reader.Read(t.Context(), js, reader.Options{}) {
				if err != nil && !errors.Is(err, eventlog.ErrForeign) {
					t.Fatal(err)
				}
				each(len(e.Data))
			}
		},
		"Read by direct gets": func(js jetstream.JetStream, each func(int)) {
			for e, err := range reader.Read(t.Context(), peoples(t, js), reader.Options{}) {
				if err != nil && !errors.Is(err, eventlog.ErrForeign) {
					t.Fatal(err)
				}
				each(len(e.Data))
			}
		},
		"Read by direct gets on two filters": func(js jetstream.JetStream, each func(int)) {
			for e, err := range reader.Read(t.Context(), peoples(t, js), reader.Options{Subjects: []string{eventlog.InfoSubject("d1"), eventlog.InfoSubject("d2")}}) {
				if err != nil && !errors.Is(err, eventlog.ErrForeign) {
					t.Fatal(err)
				}
				each(len(e.Data))
			}
		},
		"Stored": func(js jetstream.JetStream, each func(int)) {
			for m, err := range reader.Stored(t.Context(), js, eventlog.LogStream, 0) {
				if err != nil {
					t.Fatal(err)
				}
				each(len(m.Data))
			}
		},
	} {
		t.Run(name, func(t *testing.T) { // one after the other, as their consumers are counted
			p := s.Proxy(t)
			_, slow := p.Connect(t)
			taken, came := int64(0), 0
			consumers.Store(0)
			read(slow, func(size int) {
				came++
				if came%50 == 1 { // a slow reader: all that will come comes
					for before := int64(-1); before != p.Passed(); {
						before = p.Passed()
						time.Sleep(200 * time.Millisecond)
					}
				}
				held, most := p.Passed()-taken, budget*max(1, consumers.Load())
				if repeats[name] > 0 {
					held, most = held-taken/repeats[name], directBudget
				}
				if held > most {
					t.Fatalf("after %d messages %d bytes are held, want at most %d", came, held, most)
				}
				taken += int64(size)
			})
			if came != n {
				t.Errorf("%d messages came, want %d", came, n)
			}
			if taken < n*half {
				t.Errorf("the messages were small, and this test shows nothing")
			}
		})
	}
}

// A consumer whose server gives signs of life and no messages, as it cannot read its copy
// of the log, is left for another one.
func TestAFollowerLeavesAConsumerThatStandsStill(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	natstest.ReportState(t, js, "d1", "web")
	f := follow(t.Context(), js, reader.Options{})
	f.expect(t, 1)
	log, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	for c := range log.ConsumerNames(t.Context()).Name() {
		if _, err := js.PauseConsumer(t.Context(), eventlog.LogStream, c, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.ReportState(t, js, "d2", "web")
	f.expect(t, 2)
}

// A request whose answer is lost with its server is sent again after some seconds,
// however long the caller would wait.
func TestAnAnswerThatIsLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	natstest.EnsureLog(t, js, 1)
	natstest.ReportState(t, js, "d1", "web")
	p := s.Proxy(t)
	var lost atomic.Bool
	p.Drop(func(subject string) bool { return strings.HasPrefix(subject, "_INBOX.") && !lost.Swap(true) })
	_, slow := p.Connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	f := follow(ctx, slow, reader.Options{})
	f.expect(t, 1)
	if !lost.Load() {
		t.Error("no answer was lost")
	}
}
