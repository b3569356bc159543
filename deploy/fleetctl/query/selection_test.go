package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/viewdiff"
)

func TestASelectionNarrowsWhatTheServerSends(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		device, deployment string
		types              []string
		want               []string
	}{
		"nothing said is everything": {want: nil},
		"a device is each family that names it": {
			device: "edge-01",
			want: []string{
				"fleet.evt.desired.edge-01.*", "fleet.evt.device.edge-01", "fleet.evt.info.edge-01", "fleet.evt.state.edge-01.*",
				"fleet.evt.agent.edge-01", "fleet.evt.command.edge-01", "fleet.evt.request.*.edge-01", "fleet.evt.auth.edge-01", "fleet.evt.access.edge-01",
			},
		},
		"a Deployment is its own events, those of its devices and the agents' steps": {
			deployment: "shop/web",
			want:       []string{"fleet.evt.deployment.shop.web", "fleet.evt.desired.*.web", "fleet.evt.state.*.web", "fleet.evt.agent.*", "fleet.evt.request.*.shop.web"},
		},
		"a Deployment of any namespace": {
			deployment: "web", types: []string{"deployment"},
			want: []string{"fleet.evt.deployment.*.web"},
		},
		"both narrow": {
			device: "edge-01", deployment: "web",
			want: []string{"fleet.evt.desired.edge-01.web", "fleet.evt.state.edge-01.web", "fleet.evt.agent.edge-01"},
		},
		"a type is its family": {types: []string{"leader.elected", "rollout"}, want: []string{"fleet.evt.leader", "fleet.evt.deployment.*.*"}},
		"what is foreign may be anywhere": {
			device: "edge-01", deployment: "web", types: []string{"foreign"},
			want: []string{"fleet.evt.desired.edge-01.web", "fleet.evt.state.edge-01.web", "fleet.evt.agent.edge-01"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := NewSelection(tt.device, tt.deployment, tt.types)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Subjects()); diff != "" {
				t.Errorf("subjects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestASelectorThatSelectsNothingIsReported(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ device, deployment, kind, want string }{
		"a device with a dot":     {device: "a.b", want: "RFC 1123"},
		"a wildcard":              {deployment: "*", want: "RFC 1123"},
		"an unknown type":         {kind: "state.exploded", want: "state.reported"},
		"an impossible namespace": {deployment: "Shop/web", want: `namespace "Shop"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var types []string
			if tt.kind != "" {
				types = []string{tt.kind}
			}
			_, err := NewSelection(tt.device, tt.deployment, types)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// The server's filter is never narrower than the selection.
func TestWhateverMatchesIsAskedFor(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b"}
	types := eventlog.Types()
	slices.Sort(types)
	rapid.Check(t, func(t *rapid.T) {
		name := func(label string) string { return rapid.SampledFrom(names).Draw(t, label) }
		maybe := func(label string) string {
			return rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, label)
		}
		kind := rapid.SampledFrom(types).Draw(t, "type")
		subject := map[eventlog.Family]string{
			eventlog.FamilyLeader: eventlog.LeaderSubject, eventlog.FamilySeal: eventlog.SealSubject,
			eventlog.FamilyDeployment: eventlog.DeploymentSubject(name("ns"), name("name")),
			eventlog.FamilyRequest:    eventlog.RequestSubject(name("user"), name("ns"), name("name")),
			eventlog.FamilyDesired:    eventlog.DesiredSubject(name("device"), name("name")),
			eventlog.FamilyState:      eventlog.StateSubject(name("device"), name("name")),
			eventlog.FamilyDevice:     eventlog.DeviceSubject(name("device")),
			eventlog.FamilyInfo:       eventlog.InfoSubject(name("device")),
			eventlog.FamilyAgent:      eventlog.AgentSubject(name("device")),
			eventlog.FamilyCommand:    eventlog.CommandSubject(name("device")),
			eventlog.FamilyAuth:       eventlog.AuthSubject(name("device")),
			eventlog.FamilyAccess:     eventlog.AccessSubject(name("device")),
			eventlog.FamilyBudget:     eventlog.BudgetSubject(name("budget")),
		}[kind.Family()]
		if kind == eventlog.RequestMade && rapid.Bool().Draw(t, "about a device") {
			subject = eventlog.DeviceRequestSubject(name("user"), name("device"))
		}
		address, err := eventlog.ParseSubject(subject)
		if err != nil {
			t.Fatal(err)
		}
		e := eventlog.Event{Subject: subject, Address: address, Type: kind, Namespace: name("ns"), Data: []byte(`{"deployment":"a"}`)}

		deployment := maybe("deployment")
		if ns := maybe("namespace"); ns != "" && deployment != "" {
			deployment = ns + "/" + deployment
		}
		var chosen []string
		if rapid.Bool().Draw(t, "by type") {
			chosen = append(chosen, rapid.SampledFrom(TypeWords()).Draw(t, "chosen"))
		}
		s, err := NewSelection(maybe("selected device"), deployment, chosen)
		if err != nil {
			t.Fatal(err)
		}
		var foreign error
		if rapid.Bool().Draw(t, "foreign") {
			foreign = eventlog.ErrForeign
		}
		if s.Match(e, foreign) && s.Subjects() != nil && !slices.ContainsFunc(s.Subjects(), func(f string) bool { return matches(f, subject) }) {
			t.Fatalf("%s on %s matches %+v, but only %v is asked for", kind, subject, s, s.Subjects())
		}
	})
}

func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || token != "*" && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}

func TestAgoIsAMomentOrHowLongAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s := cli.Streams{Now: func() time.Time { return now }}
	tests := map[string]struct {
		in   string
		want asof.Moment
	}{
		"nothing":                 {"", asof.Moment{}},
		"minutes":                 {"15m", asof.Moment{Time: now.Add(-15 * time.Minute)}},
		"minutes, with the sign":  {"-15m", asof.Moment{Time: now.Add(-15 * time.Minute)}},
		"days":                    {"3d", asof.Moment{Time: now.Add(-72 * time.Hour)}},
		"a moment":                {"2026-11-23T08:00:00Z", asof.Moment{Time: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}},
		"a sequence":              {"5", asof.Moment{Sequence: 5}},
		"a time of today's clock": {"08:15", asof.Moment{Time: time.Date(2026, 11, 24, 8, 15, 0, 0, time.UTC)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseAgo(s, "--since", tt.in)
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"yesterday", "--5m", "d"} {
		if _, err := ParseAgo(s, "--since", bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSelectionByTheEnvelope(t *testing.T) {
	t.Parallel()
	applied := eventlog.Event{
		Type: eventlog.DeploymentApplied, Version: 2, Address: eventlog.Address{Family: eventlog.FamilyDeployment, Namespace: "shop", Name: "web"},
		CorrelationID: "shop/web@3", Data: []byte(`{"requested_by":{"name":"alice","by":"admission"}}`),
	}
	request := eventlog.Event{
		Type: eventlog.RequestMade, Address: eventlog.Address{Family: eventlog.FamilyRequest, User: "alice"},
		Data: []byte(`{"verb":"withdraw","reason":"replaced"}`),
	}
	failed := eventlog.Event{
		Type: eventlog.StateReported, Address: eventlog.Address{Family: eventlog.FamilyState, Device: "pi-01", Deployment: "web"},
		Data: []byte(`{"reason":"ImagePullFailed"}`), Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	command := eventlog.Event{Type: eventlog.CommandRequested, Actor: "bob", Address: eventlog.Address{Family: eventlog.FamilyCommand, Device: "pi-01"}}
	tests := map[string]struct {
		selection Selection
		want      []eventlog.Event
	}{
		"who asked for a change, by name":        {Selection{Actor: "alice"}, []eventlog.Event{applied, request}},
		"who acted, by the envelope":             {Selection{Actor: "bob"}, []eventlog.Event{command}},
		"one change":                             {Selection{Correlation: "shop/web@3"}, []eventlog.Event{applied}},
		"another change":                         {Selection{Correlation: "shop/web@4"}, nil},
		"every change of one Deployment":         {Selection{Correlation: "shop/web"}, []eventlog.Event{applied}},
		"a name that only begins alike":          {Selection{Correlation: "shop/we"}, nil},
		"a reason, in whatever case":             {Selection{Reason: "imagepullfailed"}, []eventlog.Event{failed}},
		"a reason that a person gave":            {Selection{Reason: "replaced"}, []eventlog.Event{request}},
		"a trace":                                {Selection{Trace: "4bf92f3577b34da6a3ce929d0e0e4736"}, []eventlog.Event{failed}},
		"a reason together with another's actor": {Selection{Reason: "replaced", Actor: "bob"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []eventlog.Event
			for _, e := range []eventlog.Event{applied, request, failed, command} {
				if tt.selection.Match(e, nil) {
					got = append(got, e)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
			if tt.selection.all() {
				t.Error("it is said to select all")
			}
		})
	}
}

func TestWhatAChangeIsAbout(t *testing.T) {
	t.Parallel()
	all := map[string]viewdiff.Change{
		"deployment": {About: viewdiff.AboutDeployment, Namespace: "shop", Deployment: "web"},
		"other":      {About: viewdiff.AboutDeployment, Namespace: "lab", Deployment: "web"},
		"device":     {About: viewdiff.AboutDevice, Device: "pi-01"},
		"assignment": {About: viewdiff.AboutAssignment, Namespace: "shop", Deployment: "web", Device: "pi-01"},
		"unknown":    {About: viewdiff.AboutState, Deployment: "web", Device: "pi-02"},
	}
	tests := map[string]struct {
		device, deployment string
		want               string
	}{
		"everything":                {want: "assignment deployment device other unknown"},
		"a device":                  {device: "pi-01", want: "assignment device"},
		"a Deployment":              {deployment: "shop/web", want: "assignment deployment unknown"},
		"a Deployment of any space": {deployment: "web", want: "assignment deployment other unknown"},
		"both":                      {device: "pi-01", deployment: "shop/web", want: "assignment deployment device"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sel, err := NewSelection(tt.device, tt.deployment, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, name := range []string{"assignment", "deployment", "device", "other", "unknown"} {
				if sel.Concerns(all[name]) {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("about: %v, want %s", got, tt.want)
			}
		})
	}
}
