package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// diffFlags are what a person may say of diff.
type diffFlags struct {
	from, to           string
	asHappened         bool
	deployment, device string
	output             string
	exitCode, quiet    bool
}

func newDiff(s Streams, c *connection) *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff --from MOMENT [--to MOMENT]",
		Short: "Show in what the fleet differs between two moments",
		Long: `Show in what the fleet differs between two moments.

Deployments that came, changed (each field of their scores) and ended; devices
that came, went, turned online or offline, or carry other labels; what was
assigned to which device and withdrawn; and what the devices say of it. It
compares two states and not the way between them: what happened and was undone
does not show; fleetctl log and fleetctl history tell that.

` + momentHelp + `

Differences are no failure: the exit code is 0. With --exit-code it is 1 where
there are any, as git's; with -q nothing is printed besides.`,
		Example: `  fleetctl diff --from -1h
  fleetctl diff --from 1200 --to 1300 --deployment default/hello
  fleetctl diff --from 14:00 --to 14:30 --device edge-01 -o json
  fleetctl diff -q --from -5m || echo something changed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return diff(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "the first moment: a sequence, a time or how long ago (-15m)")
	flags.StringVar(&f.to, "to", "", "the second moment; default now")
	flags.BoolVar(&f.asHappened, "as-happened", false, "by when things happened, not by when the log learned of them")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVarP(&f.output, "output", "o", outputText, "text or json")
	flags.BoolVar(&f.exitCode, "exit-code", false, "exit with 1 where there are differences")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing, and --exit-code")
	completeMoments(cmd, "from")
	completeMoments(cmd, "to")
	completeFlag(cmd, "deployment", c.completeQualified)
	completeFlag(cmd, "device", c.completeDevice)
	completeFlag(cmd, "output", fixed([]string{outputText, outputJSON}))
	return cmd
}

// difference is what diff tells, as JSON.
type difference struct {
	From    placeInLog        `json:"from"`
	To      placeInLog        `json:"to"`
	Changes []viewdiff.Change `json:"changes"`
}

// placeInLog is a place in the log that a moment stands for.
type placeInLog struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
}

func diff(ctx context.Context, s Streams, c *connection, f diffFlags) error {
	if f.from == "" {
		return misused(errors.New("say from when: --from"), display(s.Name)+" diff --from -15m")
	}
	sel, err := newSelection(f.device, f.deployment, nil)
	if err != nil {
		return misused(err, display(s.Name)+" diff --help")
	}
	if f.output != outputText && f.output != outputJSON {
		return misused(fmt.Errorf("-o %q is none of the outputs text and json", f.output), "-o json")
	}
	var moments [2]moment
	for i, at := range []struct{ flag, text string }{{"--from", f.from}, {"--to", f.to}} {
		m, err := parseMoment(s, at.flag, at.text)
		if err != nil {
			return err
		}
		moments[i] = moment{Moment: m, AsHappened: f.asHappened}
	}
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	var views [2]*fleet.View
	var places [2]placeInLog
	for i, m := range moments {
		if m, err = c.timed(ctx, nc, js, m); err != nil {
			return err
		}
		if views[i], err = c.view(ctx, s, nc, js, m); err != nil {
			return err
		}
		places[i] = placeInLog{Sequence: views[i].Sequence, Time: views[i].Recorded}
		if f.asHappened && !m.IsNow() {
			places[i].Time = m.Time.UTC()
		}
	}
	d := difference{From: places[0], To: places[1], Changes: []viewdiff.Change{}}
	for _, change := range viewdiff.Between(views[0], views[1]) {
		if concerns(sel, change) {
			d.Changes = append(d.Changes, change)
		}
	}
	if len(d.Changes) == 0 {
		if err := sel.unknown(ctx, s, js, "diff --from "+f.from); err != nil {
			return c.explain(err, nc)
		}
	}
	return d.tell(s, f)
}

// concerns says whether a change is about the device and the Deployment that a
// person selected.
func concerns(sel selection, c viewdiff.Change) bool {
	device := sel.device == "" || c.Device == "" || c.Device == sel.device
	deployment := sel.name == "" || c.Deployment == "" ||
		c.Deployment == sel.name && (sel.namespace == "" || c.Namespace == "" || c.Namespace == sel.namespace)
	switch c.About {
	case viewdiff.AboutDeployment:
		return deployment && (sel.device == "" || sel.name != "")
	case viewdiff.AboutDevice:
		return device && (sel.name == "" || sel.device != "")
	}
	return device && deployment
}

func (d difference) tell(s Streams, f diffFlags) error {
	if !f.quiet {
		if f.output == outputJSON {
			b, err := json.MarshalIndent(d, "", "    ")
			if err != nil {
				return failed(fmt.Errorf("encode the differences: %w", err), "")
			}
			s.tell("%s\n", b)
		} else {
			s.tell("%s", d.text(s.Color))
		}
	}
	if len(d.Changes) > 0 && (f.exitCode || f.quiet) {
		return silence(ExitFailed)
	}
	return nil
}

// text is the differences for people, as diff -u begins: where from, where to,
// then each thing that differs, with a sign.
func (d difference) text(color bool) string {
	var b strings.Builder
	for i, p := range []placeInLog{d.From, d.To} {
		fmt.Fprintf(&b, "%s %6d  %s\n", []string{"---", "+++"}[i], p.Sequence, p.Time.Local().Format(clockForm))
	}
	for _, c := range d.Changes {
		sign, hue := "~", yellow
		switch c.Change {
		case viewdiff.Added:
			sign, hue = "+", green
		case viewdiff.Removed:
			sign, hue = "-", red
		}
		head := sign + " " + string(c.About) + " " + whatOf(c)
		if color {
			head = hue + head + plain
		}
		b.WriteString(head)
		b.WriteString(fieldsText(c))
		b.WriteByte('\n')
	}
	return b.String()
}

func whatOf(c viewdiff.Change) string {
	deployment := strings.Trim(c.Namespace+"/"+c.Deployment, "/")
	return strings.TrimSpace(c.Device + " " + deployment)
}

// fieldsText puts what a device says on one line, and a line for each field of
// what a person wrote.
func fieldsText(c viewdiff.Change) string {
	var parts []string
	for _, f := range c.Fields {
		if c.About == viewdiff.AboutAssignment && f.Path == "score_hash" && slices.ContainsFunc(c.Fields, func(o viewdiff.Field) bool { return o.Path == "revision" }) {
			continue // the revision says it, in fewer letters
		}
		if c.Change == viewdiff.Removed {
			f.Before, f.After = nil, f.Before // the sign says that it is gone
		}
		parts = append(parts, fieldText(f))
	}
	switch {
	case len(parts) == 0:
		return ""
	case c.About == viewdiff.AboutAssignment || c.About == viewdiff.AboutState:
		return "  " + strings.Join(parts, ", ")
	}
	return "\n    " + strings.Join(parts, "\n    ")
}

func fieldText(f viewdiff.Field) string {
	path := f.Path
	switch {
	case f.Before == nil:
		return path + ": " + valueText(f.After)
	case f.After == nil:
		return path + ": " + valueText(f.Before) + " → none"
	}
	return path + ": " + valueText(f.Before) + " → " + valueText(f.After)
}

// longestValue is how much of a value is shown to people; -o json has all of it.
const longestValue = 160

func valueText(raw json.RawMessage) string {
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" && s == strings.TrimSpace(s) && !strings.ContainsAny(s, "\n→,") {
		text = s
	}
	if r := []rune(text); len(r) > longestValue {
		text = string(r[:longestValue]) + "…"
	}
	return printable(text)
}
