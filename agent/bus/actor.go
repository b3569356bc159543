package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// perform does what the rollover wants. What takes time goes on beside it and
// comes back as an event.
func (b *Bus) perform(ctx context.Context, group *sync.WaitGroup, a action) {
	l := b.links[a.Link] // Run's goroutine alone writes links
	switch a.Do {
	case toOpen:
		group.Go(func() { b.open(ctx, a.Link) })
	case toReady:
		group.Go(func() { b.ready(ctx, l) })
	case toRetire:
		b.rollovers.Inc()
		b.options.Logger.Info("a new connection to the bus took the place of the one before", "connection", a.Link)
		group.Go(func() {
			l.retire(ctx, b.options.Overlap)
			b.happened(ctx, event{kind: gotIdle, id: a.Link})
		})
	case toRetry:
		if l != nil && l.conn.IsReconnecting() {
			_ = l.conn.ForceReconnect() // it fails only where the connection is closed
		}
	case toClose:
		b.closeLink(a.Link)
	}
}

func (b *Bus) happened(ctx context.Context, e event) {
	select {
	case <-ctx.Done():
		if e.link != nil {
			e.link.close()
		}
	case b.events <- e:
	}
}

func (b *Bus) open(ctx context.Context, id int) {
	l := &Link{id: id, owned: b.owned, closing: make(chan struct{}), freed: make(chan struct{}, 1)}
	conn, err := b.options.Dial(&l.shown)
	if err != nil {
		b.happened(ctx, event{kind: opened, id: id, err: err})
		return
	}
	l.conn = conn
	b.happened(ctx, event{kind: opened, id: id, link: l})
}

// join lets the parts subscribe on a connection, and follows what becomes of it.
func (b *Bus) join(ctx context.Context, group *sync.WaitGroup, l *Link) {
	b.mu.Lock()
	b.links[l.id] = l
	for p := range b.parts {
		if p.Join == nil {
			continue
		}
		if err := p.Join(l); err != nil {
			b.options.Logger.Error("a part of the agent cannot hear on a connection", "connection", l.id, "error", err)
		}
	}
	b.mu.Unlock()
	status := l.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	group.Go(func() { b.follow(ctx, l, status) })
}

// follow tells how a connection fares.
func (b *Bus) follow(ctx context.Context, l *Link, status chan nats.Status) {
	defer l.conn.RemoveStatusListener(status)
	up := false
	for st := l.conn.Status(); ; {
		switch st {
		case nats.CONNECTED:
			if !up {
				up = true
				l.stands(true)
				b.happened(ctx, event{kind: wentUp, id: l.id})
			}
		case nats.CLOSED:
			select {
			case <-l.closing:
				return
			default:
			}
			l.stands(false)
			b.happened(ctx, event{kind: closedByOthers, id: l.id})
			return
		default:
			if up {
				up = false
				l.stands(false)
				b.happened(ctx, event{kind: wentDown, id: l.id})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-l.closing:
			return
		case st = <-status:
		}
	}
}

// stands tells the parts that a connection stands, and the rollover.
func (b *Bus) stands(r *rollover, id int) []action {
	l := b.links[id]
	if l == nil {
		return nil
	}
	b.tell(id, true)
	shown := uint64(1)
	if p := l.shown.Load(); p != nil {
		shown = p.Number
	}
	return r.up(id, shown)
}

// tell tells the parts that a connection stands or was lost.
func (b *Bus) tell(id int, up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.links[id]
	if l == nil {
		return
	}
	b.standing[id] = up
	for p := range b.parts {
		switch {
		case up && p.Up != nil:
			p.Up(l)
		case !up && p.Down != nil:
			p.Down(l)
		}
	}
}

// ready asks the parts to get ready, all at once. One that does not within a time
// holds up nothing: it subscribed when the connection was opened.
func (b *Bus) ready(ctx context.Context, l *Link) {
	for l.conn.FlushTimeout(flushTimeout) != nil {
		if ctx.Err() != nil || !l.conn.IsConnected() {
			return // it is asked again when it stands again
		}
	}
	timeout := b.options.ReadyTimeout
	// Half of what is left of the present token is for what began on its connection.
	if p := b.present.Load(); p != nil && !p.Ends().IsZero() {
		timeout = min(timeout, time.Until(p.Ends())/2)
	}
	brief, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	b.mu.Lock()
	var parts []*Part
	for p := range b.parts {
		if p.Ready != nil {
			parts = append(parts, p)
		}
	}
	b.mu.Unlock()
	var group sync.WaitGroup
	for _, p := range parts {
		group.Go(func() {
			if err := p.Ready(brief, l); err != nil && ctx.Err() == nil {
				b.options.Logger.Warn("a part of the agent is not ready for the new connection, which takes over all the same", "connection", l.id, "error", err)
			}
		})
	}
	group.Wait()
	b.happened(ctx, event{kind: gotReady, id: l.id})
}

// choose makes the rollover's present connection the one that is spoken on.
func (b *Bus) choose(r *rollover) {
	p, _ := r.active()
	if p == nil {
		b.present.Store(nil)
		return
	}
	l := b.links[p.id]
	before := b.present.Swap(l)
	if l == nil || before == l && !p.up {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.watchers {
		signal(c)
	}
}

func (b *Bus) closeLink(id int) {
	b.mu.Lock()
	l := b.links[id]
	if l == nil { // it is being opened yet
		b.mu.Unlock()
		return
	}
	close(l.closing)
	delete(b.links, id)
	if b.standing[id] {
		for p := range b.parts {
			if p.Down != nil {
				p.Down(l)
			}
		}
	}
	delete(b.standing, id)
	b.mu.Unlock()
	l.stands(false)
	go l.close() // it may wait for a flush
}

func (b *Bus) closeAll() {
	b.present.Store(nil)
	for {
		select {
		case e := <-b.events:
			if e.link != nil { // it was opened when the end came
				e.link.close()
			}
			continue
		default:
		}
		break
	}
	for _, l := range b.links {
		l.close()
	}
}
