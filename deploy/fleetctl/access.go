package fleetctl

import (
	"context"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog"
)

func newAllow(s cli.Streams, c *query.Connection) *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "allow DEVICE",
		Short: "Let a device in again that was decommissioned or cut off",
		Long: `Let a device in again that was decommissioned, or whose access was revoked.

A decommissioned device becomes a device of the fleet with its next report of
itself, which its agent makes when it starts: restart the agent where it still runs.
Its new Device does not have the labels that persons had set. A request to
decommission it on which no operator has acted yet is taken back.

A device that was cut off because it flooded the log is heard again. It is cut off
again where it still writes more than its budget.`,
		Example: "  fleetctl device allow edge-03 --reason 'repaired'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := f.check(s, cmd.Name(), args[0])
			if err != nil {
				return err
			}
			return c.WithDevice(cmd.Context(), s, cmd.Name(), device, func(js jetstream.JetStream, st query.Standing) error {
				return allow(cmd.Context(), s, c, js, st, f)
			})
		},
		ValidArgsFunction: completion{c}.device,
	}
	f.bind(cmd)
	return cmd
}

func newRevoke(s cli.Streams, c *query.Connection) *cobra.Command {
	var f requestFlags
	var yes, force bool
	cmd := &cobra.Command{
		Use:   "revoke DEVICE",
		Short: "End a device's connections and refuse new ones",
		Long: `End a device's connections and refuse new ones: its key was stolen or leaked.

The operator records access.revoked. The auth callout then ends the connections of
the device within 2 seconds and refuses its tokens, until: ` + s.Program() + ` device allow DEVICE.
If the device has a password, remove its user from the NATS configuration too. Without
an auth callout nothing else cuts it off. With one, the device is cut off and logs in
again, over and over.

The device keeps its Deployments and runs on what it last had. To take it out of the
fleet: ` + s.Program() + ` device decommission DEVICE. Deactivate its user at the identity provider
too: an event log that is lost, or restored from an older archive, does not know of
the revocation.`,
		Example: `  fleetctl device revoke edge-03 --reason 'stolen from shop 17'
  fleetctl device revoke edge-03 --yes -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := f.check(s, cmd.Name(), args[0])
			if err != nil {
				return err
			}
			then := func(js jetstream.JetStream, st query.Standing) error {
				return revoke(cmd.Context(), s, c, js, st, device, f, yes, cmd.InOrStdin())
			}
			if force {
				return c.WithAnyDevice(cmd.Context(), device, then)
			}
			return c.WithDevice(cmd.Context(), s, cmd.Name(), device, then)
		},
		ValidArgsFunction: completion{c}.device,
	}
	f.bind(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "revoke also an id that the log does not know: its key was stolen before its first report")
	return cmd
}

// accessChange is what came of a request about a device's access.
type accessChange struct {
	Device    string `json:"device"`
	Requested uint64 `json:"requested,omitempty"` // the request's event
	Revoked   uint64 `json:"revoked,omitempty"`   // the operator's event; 0 where it was not waited for, or nothing changed
	Allowed   uint64 `json:"allowed,omitempty"`   // the same
}

func allow(ctx context.Context, s cli.Streams, c *query.Connection, js jetstream.JetStream, st query.Standing, f requestFlags) error {
	id := st.Device.ID
	if !st.Device.Out() && st.Device.Access == nil && st.Device.AccessRequest == nil {
		return answer(s, f.output, accessChange{Device: id}, "nothing keeps %s out\n", id)
	}
	then := "it is heard again"
	switch {
	case st.Device.Decommissioned:
		then = "its next report of itself makes it a device of the fleet; its agent reports when it starts"
	case st.Device.Leaving != nil:
		then = "the request to decommission it is taken back"
	case st.Device.Access == nil:
		then = "the request to revoke its access is taken back"
	}
	out := accessChange{Device: id}
	var err error
	out.Requested, out.Allowed, err = requestAccess(ctx, s, c, js, st, id, eventlog.RequestAllow, eventlog.AccessAllowed, f)
	switch {
	case err != nil:
		return err
	case out.Allowed == 0 && f.wait:
		return answer(s, f.output, out, "%s is allowed (event %d took back what kept it out)\n", id, out.Requested)
	case out.Allowed == 0:
		return answer(s, f.output, out, "asked the operator to allow %s (event %d)\n", id, out.Requested)
	}
	return answer(s, f.output, out, "%s is allowed (event %d); %s\n", id, out.Allowed, then)
}

func revoke(ctx context.Context, s cli.Streams, c *query.Connection, js jetstream.JetStream, st query.Standing, id string, f requestFlags, yes bool, stdin io.Reader) error {
	if st.Device != nil && st.Device.Access != nil && st.Device.AccessRequest == nil {
		return answer(s, f.output, accessChange{Device: id}, "the access of %s is revoked already (reason %s)\n", id, st.Device.Access.Reason)
	}
	if !yes {
		if err := cli.Confirm(s, stdin, fmt.Sprintf("End the connections of %s and refuse new ones?", id)); err != nil {
			return err
		}
	}
	out := accessChange{Device: id}
	var err error
	out.Requested, out.Revoked, err = requestAccess(ctx, s, c, js, st, id, eventlog.RequestRevoke, eventlog.AccessRevoked, f)
	switch {
	case err != nil:
		return err
	case out.Revoked == 0 && f.wait:
		return answer(s, f.output, out, "the access of %s is revoked (event %d found it so)\n", id, out.Requested)
	case out.Revoked == 0:
		return answer(s, f.output, out, "asked the operator to revoke the access of %s (event %d)\n", id, out.Requested)
	}
	return answer(s, f.output, out, "the access of %s is revoked (event %d); the auth callout ends its connections within 2 s. Deactivate its user at the identity provider too\n", id, out.Revoked)
}

// requestAccess asks the operator about a device's access, and waits for its answer
// where that is wanted. A request that asks for what is so by then has no answer.
func requestAccess(ctx context.Context, s cli.Streams, c *query.Connection, js jetstream.JetStream, st query.Standing, id, verb string, answeredBy eventlog.Type, f requestFlags) (requested, answered uint64, err error) {
	requested, err = c.Append(ctx, s, js, eventlog.DeviceRequestSubject(c.User, id), eventlog.RequestMade, eventlog.Request{Verb: verb, Reason: f.reason})
	if err != nil || !f.wait {
		return requested, 0, err
	}
	if err := st.Update(ctx, js); err != nil {
		return requested, 0, err
	}
	if st.Device == nil || st.Device.AccessRequest == nil {
		if st.Access != nil && st.Access.Sequence > requested { // the operator was quicker
			return requested, st.Access.Sequence, nil
		}
		return requested, 0, nil
	}
	asks := openRequest{do: verb + " " + id, sequence: requested, answeredOn: []string{eventlog.AccessSubject(id)}, timeout: f.timeout}
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	answered, err = asks.await(ctx, bounded, s, js, func(e eventlog.Event) (bool, error) {
		return e.Type == answeredBy, nil
	})
	return requested, answered, err
}
