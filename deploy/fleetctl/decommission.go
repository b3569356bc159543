package fleetctl

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/enrolling"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
)

// decommissionFlags are the flags of decommission.
type decommissionFlags struct {
	requestFlags
	yes bool
}

func newDecommission(s cli.Streams, c *query.Connection) *cobra.Command {
	var f decommissionFlags
	cmd := &cobra.Command{
		Use:   "decommission DEVICE",
		Short: "Take a device out of the fleet for good",
		Long: `Take a device out of the fleet for good: it was scrapped, sold or stolen.

The operator withdraws every Deployment from the device, clears the device's keys in
the buckets, records device.decommissioned, and deletes the Device. It waits for
none of that from the device, which may be unreachable. The device counts no more: a
Deployment that waited for it alone becomes Ready. The log keeps its history.

A device that is still alive is told to remove its containers, now or when it
connects again. What it reports after that is ignored, and it is not registered
again, until: ` + s.Program() + ` device allow DEVICE.

The same by kubectl, where the deletion of a Device alone brings it back:

  kubectl annotate fleetdev DEVICE ` + v1alpha1.AnnotationOnDelete + "=" + v1alpha1.OnDeleteDecommission + `
  kubectl delete fleetdev DEVICE`,
		Example: `  fleetctl device decommission edge-03 --reason 'sold'
  fleetctl device decommission edge-03 --yes -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := f.check(s, cmd.Name(), args[0])
			if err != nil {
				return err
			}
			return c.WithDevice(cmd.Context(), s, cmd.Name(), device, func(js jetstream.JetStream, st query.Standing) error {
				return decommission(cmd.Context(), s, c, js, st, f, cmd.InOrStdin())
			})
		},
		ValidArgsFunction: completion{c}.device,
	}
	f.bind(cmd)
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return cmd
}

// decommissioner is the same for unenroll, which asks and tells by itself.
func decommissioner(s cli.Streams, c *query.Connection) enrolling.Decommission {
	s.Out = io.Discard
	return func(ctx context.Context, js jetstream.JetStream, st query.Standing, reason string) error {
		f := decommissionFlags{requestFlags: requestFlags{reason: reason, wait: true, timeout: 3 * defaultWait, output: render.OutputText}, yes: true}
		return decommission(ctx, s, c, js, st, f, strings.NewReader(""))
	}
}

// decommissioned is what came of a request.
type decommissioned struct {
	Device         string   `json:"device"`
	Requested      uint64   `json:"requested,omitempty"`      // the request's event
	Decommissioned uint64   `json:"decommissioned,omitempty"` // the operator's event; 0 where it was not waited for
	Withdrawn      []string `json:"withdrawn"`                // NAMESPACE/NAME of what was on it
}

func decommission(ctx context.Context, s cli.Streams, c *query.Connection, js jetstream.JetStream, st query.Standing, f decommissionFlags, stdin io.Reader) error {
	id := st.Device.ID
	out := decommissioned{Device: id, Requested: st.Requested, Decommissioned: st.Left, Withdrawn: append([]string{}, st.Assigned...)}
	if st.Left > 0 {
		return answer(s, f.output, out, "%s is decommissioned already (event %d)\n", id, st.Left)
	}
	if !f.yes {
		if err := cli.Confirm(s, stdin, fmt.Sprintf("Decommission %s, withdraw %s and ignore what it reports from then on?", id, onIt(st.Assigned))); err != nil {
			return err
		}
	}
	if out.Requested == 0 {
		seq, err := c.Append(ctx, s, js, eventlog.DeviceRequestSubject(c.User, id), eventlog.RequestMade,
			eventlog.Request{Verb: eventlog.RequestDecommission, Reason: f.reason})
		if err != nil {
			return err
		}
		out.Requested = seq
	}
	asked := fmt.Sprintf("asked the operator to decommission %s and to withdraw %s (event %d)", id, onIt(st.Assigned), out.Requested)
	if !f.wait {
		return answer(s, f.output, out, "%s\n", asked)
	}
	if f.output == render.OutputText {
		s.Tell("%s\n", asked)
	}
	var err error
	asks := openRequest{do: "decommission " + id, sequence: out.Requested, answeredOn: []string{eventlog.DeviceSubject(id), eventlog.AccessSubject(id)}, timeout: f.timeout}
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	out.Decommissioned, err = asks.await(ctx, bounded, s, js, func(e eventlog.Event) (bool, error) {
		if e.Type == eventlog.AccessAllowed {
			return false, cli.Failed(fmt.Errorf("%s was allowed again meanwhile (event %d), which takes the request back", id, e.Sequence),
				s.Program()+" history device/"+id)
		}
		return e.Type == eventlog.DeviceDecommissioned, nil
	})
	if err != nil {
		return err
	}
	return answer(s, f.output, out, "%s is decommissioned (event %d); where it is alive, it removes its containers, now or when it connects again\n", id, out.Decommissioned)
}

// onIt says what is on a device.
func onIt(assigned []string) string {
	switch len(assigned) {
	case 0:
		return "no Deployment"
	case 1, 2, 3:
		return strings.Join(assigned, ", ")
	}
	return fmt.Sprintf("%s and %d more Deployments", strings.Join(assigned[:2], ", "), len(assigned)-2)
}
