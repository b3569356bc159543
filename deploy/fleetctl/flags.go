package fleetctl

import (
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/query"
)

// selectionFlags are the flags by which a person selects events.
type selectionFlags struct {
	device, deployment         string
	types                      []string
	actor, correlation, reason string
}

func (f *selectionFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringSliceVar(&f.types, "type", nil, "only these types, such as state.reported, or their first words, such as rollout")
	flags.StringVar(&f.actor, "actor", "", "only what this person or program did, as the log knows it")
	flags.StringVar(&f.correlation, "correlation", "", "only what belongs to one change: NAMESPACE/NAME@REVISION, or NAMESPACE/NAME for every change of it")
	flags.StringVar(&f.reason, "reason", "", "only what has this reason, such as ImagePullFailed")
}

// selection checks what the flags say.
func (f selectionFlags) selection() (query.Selection, error) {
	s, err := query.NewSelection(f.device, f.deployment, f.types)
	s.Actor, s.Correlation, s.Reason = f.actor, f.correlation, f.reason
	return s, err
}

// defaultWait is how long a person waits for the operator.
const defaultWait = 10 * time.Second
