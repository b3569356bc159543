package importing

import (
	"encoding/json"
	"fmt"
	"strconv"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
)

// answer is what came of an import, as -o json writes it.
type answer struct {
	Source      string                      `json:"source"`
	Origin      string                      `json:"origin"` // tells one set of buckets from another
	LogID       string                      `json:"log_id,omitempty"`
	DryRun      bool                        `json:"dry_run"`
	Appended    int                         `json:"appended"` // events, by this run
	Buckets     map[string]*migration.Count `json:"buckets"`
	Deployments []migration.Deployment      `json:"deployments"`
	Refused     []migration.Finding         `json:"refused"`
	Notes       []migration.Finding         `json:"notes"`
	Differences []migration.Difference      `json:"differences"`
}

func writeJSON(s cli.Streams, source migration.Source, from string, r migration.Report) error {
	b, err := json.MarshalIndent(answer{
		Source: from, Origin: source.Origin, LogID: r.LogID, DryRun: r.DryRun, Appended: r.Appended, Buckets: r.Counts,
		Deployments: append([]migration.Deployment{}, r.Deployments...), Refused: append([]migration.Finding{}, r.Refused...),
		Notes: append([]migration.Finding{}, r.Notes...), Differences: append([]migration.Difference{}, r.Differences...),
	}, "", "  ")
	if err != nil {
		return cli.Failed(err, "")
	}
	s.Tell("%s\n", b)
	return nil
}

// maxListed bounds what is listed for a person.
const maxListed = 40

func writeText(s cli.Streams, source migration.Source, from string, r migration.Report) {
	s.Tell("Source: %s, %s, origin %s.\n\n", from, render.Plural(uint64(len(source.Entries)), "entry", "entries"), source.Origin)
	rows := [][]string{{"BUCKET", "ENTRIES", "NEW", "PRESENT", "KEPT", "REFUSED", "DELETED", "RESPELT", "VERIFIED"}}
	for _, b := range eventlog.Buckets() {
		c := r.Counts[b]
		row := []string{b}
		for _, n := range []int{c.Entries, c.New, c.Present, c.Kept, c.Refused, c.Deleted, c.Respelt, c.Verified} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	render.Table(s, rows)
	if len(r.Deployments) > 0 {
		s.Tell("\n")
		rows = [][]string{{"DEPLOYMENT", "DEVICES", "REVISION", "BEHIND", "SELECTOR", "FOUND BY"}}
		for _, d := range r.Deployments {
			sel, err := json.Marshal(d.Selector)
			if err != nil {
				sel = []byte(err.Error())
			}
			rows = append(rows, []string{d.Namespace + "/" + d.Name, strconv.Itoa(d.Devices), strconv.FormatUint(d.Revision, 10), strconv.Itoa(d.Behind), clip(string(sel)), orLog(d.Guessed)})
		}
		render.Table(s, rows)
	}
	list(s, "refused", r.Refused)
	list(s, "note", r.Notes)
	for i, d := range r.Differences {
		if i == maxListed {
			s.Tell("  … and %d more: -o json\n", len(r.Differences)-i)
			break
		}
		s.Tell("%sdiffers: %s %s: %s\n", first(i), d.Bucket, render.Printable(d.Key), d.What)
	}
	s.Tell("\n%s\n", outcome(r))
}

// outcome is the last sentence.
func outcome(r migration.Report) string {
	switch {
	case r.DryRun:
		return fmt.Sprintf("Dry run: %d events would be appended. Nothing was changed.", len(r.Events))
	case len(r.Differences) > 0:
		return fmt.Sprintf("Appended %d events to log %s. Its buckets differ from the source.", r.Appended, r.LogID)
	case r.LogID == "":
		return "Nothing was appended."
	}
	return fmt.Sprintf("Appended %d events to log %s. Its buckets hold all that was not refused.\n"+
		"Next: apply the custom resources (your own files, or: fleetctl restore --crs | kubectl apply --server-side -f -), then start the operator.", r.Appended, r.LogID)
}

func list(s cli.Streams, what string, all []migration.Finding) {
	for i, f := range all {
		if i == maxListed {
			s.Tell("  … and %d more: -o json\n", len(all)-i)
			break
		}
		s.Tell("%s%s: %s %s, %s: %s\n", first(i), what, f.Bucket, render.Printable(clip(f.Key)), f.Reason, render.Printable(f.Message))
	}
}

func first(i int) string {
	if i == 0 {
		return "\n"
	}
	return ""
}

// clip bounds a text for a table's cell.
func clip(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func orLog(guessed string) string {
	if guessed == "" {
		return "the log"
	}
	return guessed
}
