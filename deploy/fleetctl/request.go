package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/operator/resource"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// requestFlags are the flags of a request that the operator answers.
type requestFlags struct {
	reason, output string
	wait           bool
	timeout        time.Duration
}

func (f *requestFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why, for the log")
	flags.BoolVar(&f.wait, "wait", true, "wait until the operator has done it")
	flags.DurationVar(&f.timeout, "timeout", defaultWait, "how long to wait for the operator")
	complete.BindOutput(cmd, &f.output)
}

// check reads the device that a command names, and checks the flags.
func (f *requestFlags) check(s cli.Streams, command, arg string) (device string, err error) {
	if device, err = resource.DeviceArg(arg); err != nil {
		return "", cli.Misused(err, s.Program()+" device "+command+" edge-03")
	}
	return device, complete.CheckTextOrJSON(f.output)
}

// openRequest is a request in the log that the operator has not answered.
type openRequest struct {
	do         string // what it asks for, such as "decommission edge-03"
	sequence   uint64
	answeredOn []string // subjects
	timeout    time.Duration
}

// await follows the log until the event that answers the request, and gives its
// sequence. bounded is ctx with the request's timeout.
func (r openRequest) await(ctx, bounded context.Context, s cli.Streams, js jetstream.JetStream, answers func(eventlog.Event) (bool, error)) (uint64, error) {
	for e, err := range reader.Follow(bounded, js, reader.Options{From: r.sequence, Subjects: r.answeredOn}) {
		switch {
		case err != nil && !errors.Is(err, eventlog.ErrForeign):
			if bounded.Err() == nil || ctx.Err() != nil {
				return 0, err
			}
			return 0, cli.Failed(fmt.Errorf("the operator did not %s within %v; the request stays in the log, and the next operator acts on it", r.do, r.timeout),
				"is an operator running? "+s.Program()+" log --type leader -o text shows the last one")
		case err != nil:
		default:
			if done, err := answers(e); done || err != nil {
				return e.Sequence, err
			}
		}
	}
	return 0, context.Cause(bounded)
}
