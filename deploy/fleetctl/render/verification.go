package render

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/verify"
)

// Verification writes the report of verify as a table.
func Verification(s cli.Streams, r *verify.Report) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", what, fmt.Sprintf(format, args...)) }
	row("log", "%s, %s up to sequence %d", r.LogID, Plural(r.Messages, "message", "messages"), r.Sequence)
	row("seals", "%s", sealsLine(r.Seals))
	for _, bucket := range r.Buckets {
		row(bucket.Name, "%s", Plural(uint64(bucket.Keys), "key", "keys"))
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
		at = append(at, Printable(f.Subject))
	}
	if len(at) == 0 {
		return Printable(f.Says)
	}
	return strings.Join(at, ", ") + ": " + Printable(strings.TrimPrefix(f.Says, eventlog.ErrForeign.Error()+": "))
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
	line += fmt.Sprintf("; the last, of %s, covers %s", q.SealedAt.Local().Format(TimeLayout), Plural(q.Covered, "message", "messages"))
	if q.Beyond > 0 {
		line += fmt.Sprintf(", and %d since then are not covered", q.Beyond)
	}
	return line
}
