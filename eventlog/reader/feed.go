package reader

import (
	"context"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// feed gives a stream's messages in their order, for as long as a connection holds:
// by a consumer (pull), or by direct gets (direct).
type feed interface {
	// next gives the next message, with its header as the stream stores it. It fails
	// with errIdle now and then while nothing comes, with the context's error, or with
	// one that asks for a new session.
	next(ctx context.Context) (*nats.Msg, delivery, error)
	// found is about how many messages there were to come, once the first has come.
	found() uint64
	stop()
}

var (
	_ feed = (*pull)(nil)
	_ feed = (*direct)(nil)
)

// People gives the JetStream of account FLEET as account PEOPLE has it: what this
// package does, and what the streams say of themselves. All else fails.
func People(nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.NewWithAPIPrefix(nc, eventlog.PeopleAPIPrefix)
	if err != nil {
		return nil, fmt.Errorf("JetStream as account %s has it: %w", eventlog.AccountPeople, err)
	}
	return js, nil
}

// isPeoples says whether People made a JetStream.
func isPeoples(js jetstream.JetStream) bool {
	return js.Options().APIPrefix == eventlog.PeopleAPIPrefix
}
