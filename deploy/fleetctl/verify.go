package fleetctl

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/verify"
)

// maxFindings is how many findings of each kind JSON lists; a table lists fewer.
const maxFindings = 10_000

// verifyFlags are the flags of verify.
type verifyFlags struct {
	publicKey, output string
	progress          bool
}

func newVerify(s cli.Streams, c *query.Connection) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the event log with its seals and the buckets",
		Long: `Compare the event log with its seals and the buckets.

The log is read once, from its first message to its last, and changed by nothing.
What is compared:

  the log      every sequence has its message
  the seals    each is signed by the key, and the log is what it covers, so that
               a message that was altered, put in, dropped or moved is found, by
               whomever; what came after the last seal is covered by none
  the buckets  each key, byte by byte, with the last message of its subject, in
               both directions
  checkpoints  folds that are saved are what the log folds to

It also lists foreign messages (subject, type and payload do not agree, or a bucket
was moved past them, as the NATS server refuses to store them there), gaps in the
numbers of devices' reports, reports that came twice, and where the log's clock went
back: none of these is a difference. The fleet may go on meanwhile.

Name the key, or anyone who forged the log's seals forged the key in them too: by
--public-key, or $` + query.EnvSealKey + `. Where a key was changed, name both, with a comma.

Exit codes: 0 all agrees, 1 something differs, 4 all agrees and foreign messages
were found.`,
		Example: `  fleetctl verify
  fleetctl verify --public-key UAB7…
  fleetctl verify -o json | jq .counts`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verifyAll(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.publicKey, "public-key", "", "public key of the seals; default $"+query.EnvSealKey)
	flags.StringVarP(&f.output, "output", "o", render.OutputTable, "table or json")
	flags.BoolVar(&f.progress, "progress", false, "say on stderr how far it is, also where that is no terminal")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputTable, render.OutputJSON}))
	return cmd
}

func verifyAll(ctx context.Context, s cli.Streams, c *query.Connection, f verifyFlags) error {
	if f.output != render.OutputTable && f.output != render.OutputJSON {
		return cli.Misused(fmt.Errorf("unknown output %q; -o takes table or json", f.output), "-o table")
	}
	keys, err := query.TrustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	s.ErrTerminal = s.ErrTerminal || f.progress
	p := render.NewProgress(s, "reading the log")
	o := verify.Options{Trusted: keys, Progress: p.Report}
	if f.output == render.OutputJSON {
		o.Most = maxFindings
	}
	reading, stop := c.Permitted(ctx)
	defer stop()
	r, err := verify.Run(reading, js, o)
	p.End()
	if err != nil {
		return c.Explain(err, nc)
	}
	if f.output == render.OutputJSON {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = render.Verification(s, r)
	}
	if err != nil {
		return cli.Failed(fmt.Errorf("write: %w", err), "")
	}
	return verdict(s, r)
}

// verdict is the exit code, and what to try.
func verdict(s cli.Streams, r *verify.Report) error {
	name := s.Program()
	switch {
	case r.Differences() > 0:
		return cli.Failed(fmt.Errorf("verify: %s", render.Plural(r.Differences(), "thing differs", "things differ")), adviceOn(r, name))
	case r.Foreign() > 0:
		return cli.FailedWith(cli.ExitForeign,
			fmt.Errorf("verify: all agrees, and %s found: the fleet passes over them", render.Plural(r.Foreign(), "foreign message was", "foreign messages were")),
			whoWroteForeign(r, name))
	}
	return nil
}

// whoWroteForeign says where the writers of foreign messages are named.
func whoWroteForeign(r *verify.Report, name string) string {
	if r.Counts[verify.Foreign] == 0 {
		return "the message's subject names the device that wrote it: what runs there is no agent of the fleet"
	}
	return "who wrote them: " + name + " log --type foreign"
}

// adviceOn says what to try about what differs, the gravest alone.
func adviceOn(r *verify.Report, name string) string {
	has := func(kinds ...verify.Kind) bool {
		return slices.ContainsFunc(kinds, func(k verify.Kind) bool { return r.Counts[k] > 0 })
	}
	switch {
	case has(verify.MessageMissing, verify.LogBeginsLate, verify.SealBroken):
		return "the log is not what it was: keep its files as they are for anyone who looks into it, and restore an archive of before (" + name + " restore --help)"
	case has(verify.SealForged, verify.SealOutOfOrder):
		return "who can append to the log besides the operator? The seal itself: " + name + " log --type seal -o json"
	case has(verify.SealKey):
		return "where the key was changed on purpose, name both: --public-key OLD,NEW"
	case has(verify.BucketHalted):
		return "are the NATS servers well (nats server check jetstream)? Then run the same command again in a minute: an operator that runs rebuilds the bucket"
	case has(verify.BucketUnfinished):
		return "run the same command again in half a minute: an operator that runs finishes a rebuild that was cut short. Without an operator: " + name + " rebuild BUCKET"
	}
	for _, f := range r.Findings {
		if f.Bucket != "" && f.Kind.Differs() {
			return "the log is right; rebuild the bucket from it: " + name + " rebuild " + f.Bucket
		}
	}
	return ""
}
