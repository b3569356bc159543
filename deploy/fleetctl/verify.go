package fleetctl

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

// envSealKey is the public key that seals are signed by, as fleet-dev writes it.
const envSealKey = "FLEET_SEAL_KEY"

// mostFindings is how many findings of each kind JSON lists; a table lists fewer.
const mostFindings = 10_000

// verifyFlags are what a person may say of verify.
type verifyFlags struct {
	publicKey, output string
	progress          bool
}

func newVerify(s Streams, c *connection) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Hold the log against itself, its seals and the buckets",
		Long: `Hold the log against itself, its seals and the buckets.

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

Name the key, or whoever forged the log's seals forged the key in them too: by
--public-key, or $` + envSealKey + `. Where a key was changed, name both, with a comma.

Exit codes: 0 all agrees, 1 something differs, 4 all agrees and foreign messages
were found.`,
		Example: `  fleetctl verify
  fleetctl verify --public-key UAB7…
  fleetctl verify -o json | jq .counts`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verifyAll(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.publicKey, "public-key", "", "public key of the seals; default $"+envSealKey)
	flags.StringVarP(&f.output, "output", "o", outputTable, "table or json")
	flags.BoolVar(&f.progress, "progress", false, "say on stderr how far it is, also where that is no terminal")
	completeFlag(cmd, "output", fixed([]string{outputTable, outputJSON}))
	return cmd
}

// trustedKeys reads the flag, or else the environment. None is said to trust any.
func trustedKeys(s Streams, flag string) (seal.Keys, error) {
	if flag == "" {
		flag = s.Getenv(envSealKey)
	}
	keys, err := seal.ParseKeys(flag)
	if err != nil {
		return nil, misused(fmt.Errorf("--public-key: %w", err), "the operator says its key when it starts, and fleet-dev writes it to .fleet/env")
	}
	return keys, nil
}

func verifyAll(ctx context.Context, s Streams, c *connection, f verifyFlags) error {
	if f.output != outputTable && f.output != outputJSON {
		return misused(fmt.Errorf("-o %q is none of the outputs table and json", f.output), "-o table")
	}
	keys, err := trustedKeys(s, f.publicKey)
	if err != nil {
		return err
	}
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	s.ErrTerminal = s.ErrTerminal || f.progress
	p := s.progress("reading the log")
	o := verify.Options{Trusted: keys, Progress: p.report}
	if f.output == outputJSON {
		o.Most = mostFindings
	}
	reading, stop := c.permitted(ctx)
	defer stop()
	r, err := verify.Run(reading, js, o)
	p.end()
	if err != nil {
		return c.explain(err, nc)
	}
	if f.output == outputJSON {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = verifyTable(s, r)
	}
	if err != nil {
		return failed(fmt.Errorf("write: %w", err), "")
	}
	return verdict(s, r)
}

// verdict is the exit code, and what to try.
func verdict(s Streams, r *verify.Report) error {
	name := display(s.Name)
	switch {
	case r.Differences() > 0:
		return failed(fmt.Errorf("verify: %s", plural(r.Differences(), "thing differs", "things differ")), adviceOn(r, name))
	case r.Foreign() > 0:
		return &failure{
			fmt.Errorf("verify: all agrees, and %s found: the fleet passes over them", plural(r.Foreign(), "foreign message was", "foreign messages were")),
			whoWroteForeign(r, name), ExitForeign,
		}
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
		return "the log is not what it was: keep its files as they are for whoever looks into it, and restore an archive of before (" + name + " restore --help)"
	case has(verify.SealForged, verify.SealOutOfOrder):
		return "who can append to the log besides the operator? The seal itself: " + name + " log --type seal -o json"
	case has(verify.SealKey):
		return "where the key was changed on purpose, name both: --public-key OLD,NEW"
	case has(verify.BucketHalted):
		return "are the NATS servers well (nats server check jetstream)? Then the same again in a minute: an operator that runs rebuilds the bucket"
	case has(verify.BucketUnfinished):
		return "the same again in half a minute: an operator that runs finishes a rebuild that was cut short. Without an operator: " + name + " rebuild BUCKET"
	}
	for _, f := range r.Findings {
		if f.Bucket != "" && f.Kind.Differs() {
			return "the log is right, and the bucket can be made from it anew: " + name + " rebuild " + f.Bucket
		}
	}
	return ""
}

func verifyTable(s Streams, r *verify.Report) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", what, fmt.Sprintf(format, args...)) }
	row("log", "%s, %s up to sequence %d", r.LogID, plural(r.Messages, "message", "messages"), r.Sequence)
	row("seals", "%s", sealsLine(r.Seals))
	for _, bucket := range r.Buckets {
		row(bucket.Name, "%s", plural(uint64(bucket.Keys), "key", "keys"))
	}
	if r.Checkpoints > 0 {
		row("checkpoints", "%d compared", r.Checkpoints)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, kind := range verify.Kinds() {
		if r.Counts[kind] == 0 {
			continue
		}
		hue, word := yellow, "note"
		if kind.Differs() {
			hue, word = red, "differs"
		}
		title := fmt.Sprintf("%s: %s (%d)", word, kind, r.Counts[kind])
		if s.Color {
			title = hue + title + plain
		}
		fmt.Fprintf(&b, "\n%s\n", title)
		shown := uint64(0)
		for _, f := range r.Findings {
			if f.Kind == kind {
				shown++
				fmt.Fprintf(&b, "  %s\n", findingLine(f))
			}
		}
		if shown < r.Counts[kind] && shown > 1 {
			fmt.Fprintf(&b, "  … the first %d; -o json has more\n", shown)
		}
	}
	if r.Differences() == 0 && r.Foreign() == 0 {
		b.WriteString("\nAll agrees.\n")
	}
	_, err := s.Out.Write([]byte(b.String()))
	return err
}

func findingLine(f verify.Finding) string {
	var at []string
	if f.Sequence > 0 {
		at = append(at, fmt.Sprintf("message %d", f.Sequence))
	}
	if f.Bucket != "" {
		at = append(at, "bucket "+f.Bucket)
	}
	if f.Subject != "" {
		at = append(at, printable(f.Subject))
	}
	if len(at) == 0 {
		return printable(f.Says)
	}
	return strings.Join(at, ", ") + ": " + printable(strings.TrimPrefix(f.Says, eventlog.ErrForeign.Error()+": "))
}

func sealsLine(q verify.Seals) string {
	if q.Checked == 0 {
		return fmt.Sprintf("none yet: no message is covered by one (%d)", q.Beyond)
	}
	line := fmt.Sprintf("%d of %d hold", q.Held, q.Checked)
	if len(q.Keys) > 0 {
		line += ", signed by " + strings.Join(q.Keys, ", ")
		if !q.Pinned {
			line += " (which nobody named: see --public-key)"
		}
	}
	if q.Held == 0 {
		return line
	}
	line += fmt.Sprintf("; the last, of %s, covers %s", q.SealedAt.Local().Format(clockForm), plural(q.Covered, "message", "messages"))
	if q.Beyond > 0 {
		line += fmt.Sprintf(", and %d since then are not covered", q.Beyond)
	}
	return line
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
