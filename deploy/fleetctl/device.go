package fleetctl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/fleetctl/resource"
	"fleet.nationtech.io/eventlog"
)

func newDevice(s cli.Streams, c *query.Connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Take a device out of the fleet, cut it off, let it in again, or see why it gets in or not",
	}
	cmd.AddCommand(newDecommission(s, c), newRevoke(s, c), newAllow(s, c), newWhy(s, c))
	for _, sub := range cmd.Commands() {
		completeNoFiles(sub)
	}
	return cmd
}

// deviceArg reads DEVICE or device/DEVICE.
func deviceArg(arg string) (string, error) {
	word, name, ok := strings.Cut(arg, "/")
	if !ok {
		name = arg
	} else if r, err := resource.ByWord(word); err != nil || r.Namespaced {
		return "", fmt.Errorf("%q is not of the form DEVICE or device/DEVICE", arg)
	}
	return name, eventlog.CheckName("device", name)
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
