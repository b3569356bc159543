// Package rolling changes the NATS servers of a fleet one after the other, each one
// once the clients of the one before are back.
package rolling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// Server is one server of the cluster.
type Server struct {
	ID   string `json:"id"` // another one after each start
	Name string `json:"name"`
}

// Options wire Change. Conn and Servers are required.
type Options struct {
	Conn    *nats.Conn // of a user in the system account
	Servers int        // how many there are: with one that does not answer, nothing begins
	// Apply changes one server, and returns once it is asked to; nil reloads its
	// configuration, which renews certificates and users. The issuer and the xkey of the
	// auth callout are not among what a server reloads: for those, Apply restarts it.
	Apply func(context.Context, Server) error
	// Timeout is how long the servers may take to be healthy, and the clients to be
	// back, after each change; 0: DefaultTimeout.
	Timeout time.Duration
	// Changed is told of each server once the clients are back; nil: nobody.
	Changed func(Server, Count)
}

// Count is how many devices were connected before and after a server was changed.
type Count struct {
	Before, After int
	Took          time.Duration
}

// DefaultTimeout is above the longest that an agent waits between two tries.
const DefaultTimeout = 2 * time.Minute

const (
	// silence ends a question to all servers, of which some may be away.
	silence = 2 * time.Second
	look    = 250 * time.Millisecond
	// steady is how many looks in a row must see all clients: the first may still see
	// those that are just being ended.
	steady = 3
	// Of many clients, some leave on their own meanwhile: one of tolerated may miss.
	tolerated = 100
)

// ErrClientsAway says that devices did not come back in time.
var ErrClientsAway = errors.New("not all devices are back")

// Change changes one server after the other. It stops at the first that fails, that
// is not healthy in time, or whose clients do not come back, and names it; the
// servers after it are untouched.
func Change(ctx context.Context, o Options) error {
	if o.Conn == nil || o.Servers < 1 {
		return errors.New("servers are changed by a connection to the system account, and their number must be given")
	}
	if o.Apply == nil {
		o.Apply = func(ctx context.Context, s Server) error { return Reload(ctx, o.Conn, s) }
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Changed == nil {
		o.Changed = func(Server, Count) {}
	}
	if err := o.healthy(ctx); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	servers, err := o.servers(ctx)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	for i, s := range servers {
		count, err := o.change(ctx, s)
		if err != nil {
			return fmt.Errorf("server %s (%d of %d): %w", s.Name, i+1, len(servers), err)
		}
		o.Changed(s, count)
	}
	return nil
}

func (o Options) change(ctx context.Context, s Server) (c Count, err error) {
	err = o.until(ctx, func(ctx context.Context) error {
		c.Before, err = o.clients(ctx)
		return err
	})
	if err != nil {
		return c, err
	}
	began := time.Now()
	if err := o.Apply(ctx, s); err != nil {
		return c, err
	}
	if err := o.healthy(ctx); err != nil {
		return c, err
	}
	err = o.until(ctx, func(ctx context.Context) error {
		if c.After, err = o.clients(ctx); err != nil {
			return err
		}
		if c.After < c.Before-c.Before/tolerated {
			return fmt.Errorf("%w: %d of %d", ErrClientsAway, c.After, c.Before)
		}
		return nil
	})
	c.Took = time.Since(began)
	return c, err
}

// healthy waits until every server says that it and its streams are well.
func (o Options) healthy(ctx context.Context) error {
	return o.until(ctx, func(ctx context.Context) error {
		well := 0
		var ill []string
		err := o.ask(ctx, eventlog.HealthSubject, nil, o.Servers, func(s Server, data json.RawMessage) error {
			var h struct {
				Status string `json:"status"`
				Error  string `json:"error"`
			}
			if err := json.Unmarshal(data, &h); err != nil {
				return err
			}
			if h.Status == "ok" {
				well++
			} else {
				ill = append(ill, fmt.Sprintf("%s is not healthy (%s)", s.Name, h.Error))
			}
			return nil
		})
		if err == nil && well < o.Servers {
			err = fmt.Errorf("%d of %d servers are healthy", well, o.Servers)
			if len(ill) > 0 {
				err = fmt.Errorf("%w: %s", err, strings.Join(ill, ", "))
			}
		}
		return err
	})
}

// Servers waits until as many servers answer as are told, and lists them by their names.
func Servers(ctx context.Context, nc *nats.Conn, many int, timeout time.Duration) (all []Server, err error) {
	o := Options{Conn: nc, Servers: many, Timeout: timeout}
	err = o.until(ctx, func(ctx context.Context) error {
		all, err = o.list(ctx, many)
		return err
	})
	return all, err
}

func (o Options) servers(ctx context.Context) (all []Server, err error) { return o.list(ctx, 0) }

// list asks until enough servers answered; 0: until none does any more.
func (o Options) list(ctx context.Context, enough int) (all []Server, err error) {
	err = o.ask(ctx, eventlog.HealthSubject, nil, enough, func(s Server, _ json.RawMessage) error {
		all = append(all, s)
		return nil
	})
	slices.SortFunc(all, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	if err == nil && len(all) != o.Servers {
		err = fmt.Errorf("%d servers answer, and there are to be %d", len(all), o.Servers)
	}
	return all, err
}

// clients counts the devices' connections on all servers. People come and go.
func (o Options) clients(ctx context.Context) (n int, err error) {
	question := fmt.Appendf(nil, `{"acc":%q,"limit":1}`, eventlog.AccountDevices)
	answers := 0
	err = o.ask(ctx, eventlog.ConnectionsSubject, question, o.Servers, func(_ Server, data json.RawMessage) error {
		var c struct {
			Total int `json:"total"`
		}
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
		n += c.Total
		answers++
		return nil
	})
	if err == nil && answers < o.Servers {
		err = fmt.Errorf("%d of %d servers said how many devices they have", answers, o.Servers)
	}
	return n, err
}

// ask puts a question to all servers and takes their answers, until there are enough
// (0: however many there are) or there is silence.
func (o Options) ask(ctx context.Context, subject string, question []byte, enough int, take func(Server, json.RawMessage) error) error {
	inbox := o.Conn.NewInbox()
	sub, err := o.Conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := o.Conn.PublishRequest(subject, inbox, question); err != nil {
		return err
	}
	for got := 0; enough == 0 || got < enough; got++ {
		brief, cancel := context.WithTimeout(ctx, silence)
		m, err := sub.NextMsgWithContext(brief)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		case errors.Is(err, nats.ErrNoResponders):
			return fmt.Errorf("ask the servers: none hears the question: the user must be one of the system account: %w", err)
		case err != nil:
			return fmt.Errorf("ask the servers: %w", err)
		}
		var a struct {
			Server Server          `json:"server"`
			Data   json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return fmt.Errorf("ask the servers: %w", err)
		}
		if err := take(a.Server, a.Data); err != nil {
			return fmt.Errorf("ask server %s: %w", a.Server.Name, err)
		}
	}
	return nil
}

// until looks until a condition held for some looks in a row, and gives up with the
// condition's own error.
func (o Options) until(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	var last error
	for held := 0; held < steady; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && last != nil {
				return fmt.Errorf("after %s: %w", o.Timeout, last)
			}
			return ctx.Err()
		}
		if err := condition(ctx); err == nil {
			held++
		} else if ctx.Err() == nil {
			held, last = 0, err
		}
	}
	return nil
}
