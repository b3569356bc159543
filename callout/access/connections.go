package access

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

const (
	// answersEnd is the silence after which no server is waited for.
	answersEnd    = 300 * time.Millisecond
	connzPage     = 1024
	recountEvery  = time.Minute
	causeRevoked  = "revoked"
	causeTooMany  = "too many"
	eventsBacklog = 1 << 16
)

// ConnectionsOptions wire Connections.
type ConnectionsOptions struct {
	Conn     *nats.Conn // of the system account
	Accounts []string   // whose clients are identities
	Follower interface{ Revoked(subject string) bool }
	Limiter  *Limiter
	Logger   *slog.Logger
	Metrics  *Metrics
}

// Connections watches who is connected and has servers end what may not be.
type Connections struct {
	options ConnectionsOptions
	revoked chan string
	turns   chan *nats.Msg
	answers chan func() // what a question to the servers brought, for Run to do

	// Of the goroutine of Run:
	register  *register
	recording bool // a recount is under way, so turns are kept for its result
	recorded  []func(*register)
}

// NewConnections wires Connections.
func NewConnections(o ConnectionsOptions) *Connections {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Connections{
		options: o, register: newRegister(), answers: make(chan func()),
		revoked: make(chan string, eventsBacklog), turns: make(chan *nats.Msg, eventsBacklog),
	}
}

// End has all connections of a subject ended soon. It does not wait.
func (c *Connections) End(subject string) {
	select {
	case c.revoked <- subject:
	default: // the next recount finds them
	}
}

// turn is what a server tells when a client came or went.
type turn struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		Start time.Time `json:"start"`
		ID    uint64    `json:"id"`
		User  string    `json:"user"`
	} `json:"client"`
}

// Run watches until the context ends.
func (c *Connections) Run(ctx context.Context) error {
	for _, account := range c.options.Accounts {
		for _, subject := range []string{eventlog.ConnectedSubject(account), eventlog.DisconnectedSubject(account)} {
			sub, err := c.options.Conn.ChanSubscribe(subject, c.turns)
			if err != nil {
				return fmt.Errorf("watch connections of account %s: %w", account, err)
			}
			defer func() { _ = sub.Unsubscribe() }() // fails on a closed connection, which takes nothing either
		}
	}
	changed := c.options.Conn.StatusChanged(nats.CONNECTED)
	defer c.options.Conn.RemoveStatusListener(changed)
	tick := time.NewTicker(recountEvery)
	defer tick.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	// ask asks servers beside the loop, and has the loop do what follows.
	ask := func(user string, then func([]connection, error)) {
		asking.Go(func() {
			found, err := c.ask(ctx, user)
			select {
			case <-ctx.Done():
			case c.answers <- func() { then(found, err) }:
			}
		})
	}
	c.recount(ask)
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-c.turns:
			c.turned(m)
		case subject := <-c.revoked:
			c.end(subject, ask)
		case do := <-c.answers:
			do()
		case <-changed:
			c.recount(ask)
		case <-tick.C:
			c.recount(ask)
		}
		c.options.Metrics.open.Set(float64(len(c.register.byKey)))
	}
}

type asker func(user string, then func([]connection, error))

func (c *Connections) turned(m *nats.Msg) {
	var t turn
	if err := json.Unmarshal(m.Data, &t); err != nil {
		c.options.Logger.Warn("an event of the server cannot be read", "subject", m.Subject, "error", err)
		return
	}
	at := connection{server: t.Server.ID, id: t.Client.ID, actor: t.Client.User, began: t.Client.Start}
	if eventlog.IsDisconnected(m.Subject) {
		c.note(func(r *register) { r.closed(at.key()) })
		return
	}
	subject, ok := subjectOf(at.actor)
	if !ok {
		return
	}
	c.options.Limiter.Seen(at.actor)
	c.opened(subject, at)
}

// opened notes a connection, and has ended what may not be.
func (c *Connections) opened(subject string, at connection) {
	var tooMany []connection
	c.note(func(r *register) { tooMany = r.opened(at) })
	if c.options.Follower.Revoked(subject) {
		c.kick(at, causeRevoked)
		return
	}
	for _, old := range tooMany {
		c.kick(old, causeTooMany)
	}
}

// note changes the register, and the result of a recount that is under way.
func (c *Connections) note(change func(*register)) {
	if c.recording {
		c.recorded = append(c.recorded, change)
	}
	change(c.register)
}

// kick has a server end a connection. Its DISCONNECT tells that it is gone.
func (c *Connections) kick(at connection, cause string) {
	body := fmt.Appendf(nil, `{"cid":%d}`, at.id)
	// Every replica says so, and the server answers all but one that there is no such
	// connection: nobody waits for that.
	if err := c.options.Conn.PublishRequest(eventlog.KickSubject(at.server), c.options.Conn.NewRespInbox(), body); err != nil {
		c.options.Logger.Warn("a connection could not be ended; the next recount ends it", "actor", at.actor, "error", err)
		return
	}
	c.note(func(r *register) { r.closed(at.key()) })
	c.options.Metrics.ended.WithLabelValues(cause).Inc()
	c.options.Logger.Info("a connection is ended", "actor", at.actor, "cause", cause, "server", at.server, "cid", at.id)
}

// end ends the connections of a subject: those that are known, at once, and those
// that servers name when they are asked.
func (c *Connections) end(subject string, ask asker) {
	actor := actorOf(subject)
	kickAll := func(all []connection) {
		if !c.options.Follower.Revoked(subject) {
			return // allowed again meanwhile
		}
		for _, at := range all {
			c.kick(at, causeRevoked)
		}
	}
	kickAll(c.register.of(actor))
	ask(actor, func(found []connection, err error) {
		if err != nil {
			c.options.Logger.Warn("servers did not name an identity's connections; the next recount ends them", "actor", actor, "error", err)
		}
		kickAll(found)
	})
}

// recount asks all servers for all connections, as events may have been missed.
func (c *Connections) recount(ask asker) {
	if c.recording {
		return
	}
	c.recording = true
	ask("", func(found []connection, err error) {
		c.recording = false
		since := c.recorded
		c.recorded = nil
		if err != nil {
			c.options.Logger.Warn("servers did not name their connections", "error", err)
			return
		}
		c.register = newRegister()
		for _, at := range found {
			c.register.opened(at)
		}
		for _, change := range since {
			change(c.register)
		}
		c.review()
	})
}

// review has ended what may not be.
func (c *Connections) review() {
	for actor := range c.register.byActor {
		subject, ok := subjectOf(actor)
		revoked := ok && c.options.Follower.Revoked(subject)
		all := c.register.of(actor)
		for i, at := range all {
			switch {
			case revoked:
				c.kick(at, causeRevoked)
			case i < len(all)-LimitsOf(actor).Connections:
				c.kick(at, causeTooMany)
			}
		}
	}
}
