package fleetctl

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/enrolling"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/operator/resource"
)

func newDevice(s cli.Streams, c *query.Connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Take a device out of the fleet, cut it off, let it in again, see why it gets in or not, or what its agent says",
	}
	cmd.AddCommand(newDecommission(s, c), newRevoke(s, c), newAllow(s, c), newWhy(s, c), newDeviceAgent(s, c))
	for _, sub := range cmd.Commands() {
		complete.NoFiles(sub)
	}
	return cmd
}

// answer writes what came of it, for a program or for a person.
func answer(s cli.Streams, output string, v any, format string, args ...any) error {
	if output != render.OutputJSON {
		s.Tell(format, args...)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.Tell("%s\n", b)
	return nil
}

// devicesOf is the fleet's devices, as the log has them.
func devicesOf(s cli.Streams, c *query.Connection) enrolling.Devices {
	return enrolling.Devices{
		Complete: completion{c}.device,
		Find: func(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, q resource.Query) ([]string, error) {
			v, err := viewAt(ctx, s, c, nc, js, query.Moment{})
			if err != nil {
				return nil, err
			}
			catalog := resource.NewCatalog(v, s.Now())
			found, unknown := q.Find(catalog)
			if err := notFound(s, q, catalog, unknown, false); err != nil {
				return nil, err
			}
			var ids []string
			for _, item := range found {
				ids = append(ids, item.Key.Name)
			}
			return ids, nil
		},
	}
}
