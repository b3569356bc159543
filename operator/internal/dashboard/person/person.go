// Package person is who a request to the dashboard comes from: a person whom the identity
// provider signed in and the NATS servers let in, with a connection to them of their own.
package person

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// Person is signed in. What a person asks of the fleet goes over Connection, so
// that the NATS servers decide what the person may do, and the log has the true actor.
type Person struct {
	Actor      string     // the user on NATS, as person-301234567890123455
	Name       string     // a readable name, to be shown and never compared
	Connection *nats.Conn // in account PEOPLE, or FLEET for an administrator
	Publish    []string   // the subjects on which the servers let the person publish; a wildcard may stand in them
}

// May says whether the servers let the person publish on a subject. Nobody, a nil Person, may
// publish on none. It is for what a page offers: the servers decide again when it is published.
func (p *Person) May(subject string) bool {
	if p == nil {
		return false
	}
	for _, filter := range p.Publish {
		if eventlog.Covers(filter, subject) {
			return true
		}
	}
	return false
}

// ErrEnded is the cause with which a request's context ends when the person's connection ends
// before the answer is made.
var ErrEnded = errors.New("the person's connection to NATS has ended")

type key struct{}

// With gives a context in which a person asks.
func With(ctx context.Context, p *Person) context.Context { return context.WithValue(ctx, key{}, p) }

// Of gives who asks; nil where nobody is signed in.
func Of(ctx context.Context) *Person {
	p, _ := ctx.Value(key{}).(*Person)
	return p
}
