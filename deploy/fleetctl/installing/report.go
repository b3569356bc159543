package installing

import (
	"encoding/json"
	"fmt"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/zitadel/setup"
	"fleet.nationtech.io/eventlog/phrase"
)

// report tells a person, or a program, what was done.
type report struct {
	streams   cli.Streams
	asJSON    bool
	dryRun    bool
	namespace string
	keys      string // directory of the provider's keys; empty: not given
	provider  setup.Saved
}

// findings tells what preflight found, before anything is changed.
func (r report) findings(all []cluster.Finding) {
	marks := map[cluster.Level]string{cluster.Refuse: "✘", cluster.Warn: "!", cluster.Note: "•"}
	for _, f := range all {
		r.line("%s %-12s %s", marks[f.Level], "preflight", f.Sentence)
		if f.Remedy != "" {
			r.line("  %-12s %s", "", f.Remedy)
		}
	}
}

func (r report) progress(p install.Progress) {
	mark := "✔"
	switch {
	case r.dryRun:
		mark = "+"
	case p.Waiting:
		mark = "…"
	}
	r.line("%s %-12s %s", mark, p.Step, p.Sentence)
}

// line writes one line: to the answer, or beside it where that is JSON.
func (r report) line(format string, args ...any) {
	text := render.Printable(fmt.Sprintf(format, args...)) + "\n"
	if r.asJSON {
		r.streams.Warn("%s", text)
		return
	}
	r.streams.Tell("%s", text)
}

func (r report) outcome(result install.Result) error {
	if r.asJSON {
		return r.json(result)
	}
	switch n := result.Changed(); {
	case r.dryRun && n == 0:
		r.streams.Tell("\nNothing was changed, and nothing would be.\n")
		return nil
	case r.dryRun:
		r.streams.Tell("\nNothing was changed. Without --dry-run %s would be.\n", phrase.Count(n, "object", "objects"))
		return nil
	case n == 0:
		r.streams.Tell("\nThe fleet in namespace %s is as it should be; nothing was changed.\n", r.namespace)
	default:
		r.streams.Tell("\nThe fleet in namespace %s is installed; %s changed.\n", r.namespace, phrase.Count(n, "object", "objects"))
	}
	for _, url := range result.URLs {
		r.streams.Tell("Devices reach it at %s\n", url)
	}
	if d := result.Dashboard; d != nil {
		r.streams.Tell("%s", dashboard(*d))
	}
	r.streams.Tell(`Its certificate authority: kubectl -n %[1]s get configmap %[2]s -o jsonpath='{.data.ca\.crt}' > fleet-ca.crt
Its administrator is in Secret %[3]s. Keep a copy of the Secrets: docs/install.md says which.
`, r.namespace, names.ConfigMapCA, install.AdminSecret)
	if len(result.URLs) > 0 && r.keys != "" {
		r.streams.Tell(`
Next, to ask the fleet, and to enrol a device:

  %[1]s context add NAME --url %[2]s --ca-file fleet-ca.crt --issuer %[3]s \
    --client-id %[4]s --project %[5]s
  %[1]s enroll ssh://USER@DEVICE --id ID --organization %[6]s \
    --admin-key-file %[7]s
`, r.streams.Program(), result.URLs[0], r.provider.Issuer, r.provider.CLIClient, r.provider.Project, r.provider.DeviceOrganization, setup.AccountKeyFile(r.keys))
	}
	return nil
}

// dashboard says how persons open the web dashboard.
func dashboard(d install.Dashboard) string {
	if d.Command == "" {
		return "Persons open its dashboard at " + d.URL + "\n"
	}
	return "Persons open its dashboard at " + d.URL + ", while this runs: " + d.Command + "\n"
}

func (r report) removed(result install.Result, deleteData bool) error {
	if r.asJSON {
		return r.json(result)
	}
	n := result.Changed()
	switch {
	case r.dryRun:
		r.streams.Tell("\nNothing was deleted. Without --dry-run %s would be.\n", phrase.Count(n, "object", "objects"))
	case deleteData:
		r.streams.Tell("\nThe fleet and its data are gone from namespace %s. The CRDs and the namespace stay.\n", r.namespace)
	default:
		r.streams.Tell("\nThe fleet is gone from namespace %s. Its event log, its Secrets and the CRDs stay: fleetctl install goes on with them.\n", r.namespace)
	}
	return nil
}

func (r report) json(result install.Result) error {
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return cli.Failed(err, "")
	}
	r.streams.Tell("%s\n", text)
	return nil
}
