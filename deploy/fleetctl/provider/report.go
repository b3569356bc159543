package provider

import (
	"encoding/json"
	"path/filepath"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// report tells a person, or a program, what was made and what comes next.
type report struct {
	streams cli.Streams
	issuer  string
	dryRun  bool
	asJSON  bool
	// keyRemoved is the file whose key was removed at the provider; empty: none was.
	keyRemoved string
}

// step tells of one object, as soon as it is there.
func (r report) step(s setup.Step) {
	if r.asJSON {
		return
	}
	action := string(s.Action)
	if r.dryRun {
		action = map[setup.Action]string{setup.Keep: "there", setup.Make: "to make", setup.Change: "to change"}[s.Action]
	}
	text := s.ID
	if s.Kind == setup.Role { // its id is its name
		text = ""
	}
	if s.Why != "" {
		if text != "" {
			text += "  "
		}
		text += "(" + s.Why + ")"
	}
	if text == "" {
		r.streams.Tell("%-9s  %-15s  %s\n", action, s.Kind, s.Name)
		return
	}
	r.streams.Tell("%-9s  %-15s  %-18s  %s\n", action, s.Kind, s.Name, text)
}

func (r report) outcome(o setup.Outcome) error {
	if r.asJSON {
		text, err := json.Marshal(struct {
			Issuer string `json:"issuer"`
			DryRun bool   `json:"dry_run,omitempty"`
			// KeyRemoved is the file whose key the provider does not take any more.
			KeyRemoved string `json:"admin_key_removed,omitempty"`
			setup.Outcome
		}{r.issuer, r.dryRun, r.keyRemoved, o})
		if err != nil {
			return err
		}
		r.streams.Tell("%s\n", text)
		return nil
	}
	if r.dryRun {
		for _, s := range o.Steps {
			r.step(s)
		}
	}
	switch {
	case !o.Changed:
		r.streams.Tell("\nAll is there. Nothing was changed.\n")
	case r.dryRun:
		r.streams.Tell("\nNothing was changed: this was a dry run.\n")
		return nil
	}
	r.streams.Tell("\nKeys, of mode 0600, that are shown nowhere. Back them up.\n\n  %s\n  %s\n", o.CalloutKeyFile, o.AccountKeyFile)
	tell := r.streams.Tell
	if r.keyRemoved != "" {
		tell("\nThe key of %s was removed at the provider. Delete the file.\n", r.keyRemoved)
	}
	tell("\nNext, with the addresses of your NATS servers:\n\n")
	tell("  %s install --provider %s\n", r.streams.Program(), filepath.Dir(o.CalloutKeyFile))
	tell("or, without Kubernetes:\n  fleet-callout --nats-url tls://nats.example.org:4222 --issuer %s \\\n    --project %s --device-organization %s --organizations %s \\\n    --introspection-key-file %s …\n",
		r.issuer, o.Project, o.DeviceOrganization, o.PeopleOrganization, o.CalloutKeyFile)
	tell("  %s context add NAME --url wss://nats.example.org:443 --issuer %s \\\n    --client-id %s --project %s\n", r.streams.Program(), r.issuer, o.CLIClient, o.Project)
	tell("  %s enroll ssh://pi@10.0.0.5 --id pi-01 --organization %s \\\n    --admin-key-file %s\n", r.streams.Program(), o.DeviceOrganization, o.AccountKeyFile)
	if o.DashboardURL != "" {
		tell("\nPersons sign in to the dashboard at %s by client id %s. To serve it there:\n\n", o.DashboardURL, o.DashboardClient)
		tell("  %s install --provider %s --set operator.dashboard.enabled=true\n", r.streams.Program(), filepath.Dir(o.CalloutKeyFile))
		tell("or, with Helm alone, by these values (docs/kubernetes.md):\n  operator:\n    dashboard: {enabled: true, url: %q, clientID: %q}\n", o.DashboardURL, o.DashboardClient)
		tell("or, without Kubernetes:\n  fleet-operator --dashboard 127.0.0.1:18080 --dashboard-url %s --dashboard-issuer %s \\\n    --dashboard-client-id %s --dashboard-project %s …\n\n", o.DashboardURL, r.issuer, o.DashboardClient, o.Project)
	}
	tell("Grant people the roles of the project (viewer, operator, admin) in the provider's console.\n")
	return nil
}
