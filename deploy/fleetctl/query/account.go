package query

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// moreRights is what to try where a user may not do something.
const moreRights = "the user of somebody whose role may, by --user: a viewer reads, an operator also makes requests and commands devices, an admin does all. Devices read no log"

// jetStream gives JetStream as the account of a connection has it.
func (c *Connection) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if c.Self.Account == eventlog.AccountPeople {
		return reader.People(nc)
	}
	return jetstream.New(nc)
}

// OpenAdmin connects, for what an admin alone may do: change streams, or read them as
// files. It fails where the user lives in account PEOPLE.
func (c *Connection) OpenAdmin(command string) (*nats.Conn, jetstream.JetStream, error) {
	nc, js, err := c.Open()
	if err != nil {
		return nil, nil, err
	}
	if c.Self.Account == eventlog.AccountPeople {
		nc.Close()
		return nil, nil, cli.Failed(fmt.Errorf("user %q may not do this: fleetctl %s takes an admin, and account %s holds viewers and operators", c.User, command, c.Self.Account),
			"the user of an admin, by --user; with fleet-dev that of .fleet/env may")
	}
	return nc, js, nil
}
