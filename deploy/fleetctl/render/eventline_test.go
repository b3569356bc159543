package render

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
)

func event(t *testing.T, subject string, kind eventlog.Type, data string) eventlog.Event {
	t.Helper()
	a, err := eventlog.ParseSubject(subject)
	if err != nil {
		t.Fatal(err)
	}
	return eventlog.Event{
		Sequence: 42, Recorded: time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local), Subject: subject, Address: a, Type: kind, Data: []byte(data),
	}
}

func TestALineSaysWhatHappened(t *testing.T) {
	t.Parallel()
	assigned := event(t, "fleet.evt.desired.edge-01.hello", eventlog.DesiredAssigned, `{"type":"PodmanV0","data":{"services":[{"name":"web","image":"nginx:1"}]}}`)
	assigned.Namespace, assigned.Revision = "default", 3
	tests := map[string]struct {
		event   eventlog.Event
		foreign error
		want    string
	}{
		"what a device should run": {event: assigned, want: "desired.assigned       edge-01 default/hello  revision 3 web=nginx:1"},
		"that it does": {
			event: event(t, "fleet.evt.state.edge-01.hello", eventlog.StateReported,
				`{"device_id":"edge-01","deployment":"hello","phase":"Running","revision":3,"last_error":null,"services":[{"name":"web","state":"running","ports":["43117:80"]}]}`),
			want: "state.reported         edge-01 hello  Running revision 3 web running on 43117:80",
		},
		"that it cannot, and why": {
			event: event(t, "fleet.evt.state.edge-01.hello", eventlog.StateReported,
				`{"device_id":"edge-01","deployment":"hello","phase":"Failed","reason":"ImagePullFailed","last_error":"no such image"}`),
			want: "state.reported         edge-01 hello  Failed ImagePullFailed “no such image”",
		},
		"what a person asked": {
			event: event(t, "fleet.evt.request.alice.default.hello", eventlog.RequestMade, `{"verb":"withdraw","reason":"old"}`),
			want:  "request.made           default/hello  withdraw by alice “old”",
		},
		"a budget": {
			event: event(t, "fleet.evt.budget.racks", eventlog.BudgetApplied, `{"uid":"u","generation":1,"selector":{"matchLabels":{"site":"lab"}},"maxUnavailable":"10%","groupBy":["rack"]}`),
			want:  "budget.applied         racks  at most 10% down for each rack of site=lab",
		},
		"a budget that says how many must be up": {
			event: event(t, "fleet.evt.budget.racks", eventlog.BudgetApplied, `{"selector":{"matchLabels":{"site":"lab"}},"minAvailable":3}`),
			want:  "budget.applied         racks  at least 3 up of site=lab",
		},
		"a budget that cannot be used": {
			event: event(t, "fleet.evt.budget.racks", eventlog.BudgetApplied, `{"selector":{},"problem":"two numbers"}`), want: "racks  binds nothing: two numbers",
		},
		"a budget that is gone": {
			event: event(t, "fleet.evt.budget.racks", eventlog.BudgetDeleted, `{"uid":"u","reason":"CRMissing"}`), want: "budget.deleted         racks  CRMissing",
		},
		"what is foreign, and why": {
			event:   event(t, "fleet.evt.state.edge-01.hello", eventlog.StateReported, `{`),
			foreign: fmt.Errorf("%w: payload is not JSON", eventlog.ErrForeign),
			want:    "foreign                edge-01 hello  payload is not JSON",
		},
		"a device cannot move the cursor": {
			event: event(t, "fleet.evt.state.edge-01.hello", eventlog.StateReported,
				"{\"device_id\":\"edge-01\",\"deployment\":\"hello\",\"phase\":\"Failed\",\"last_error\":\"a\\nb\\u001b[2J\"}"),
			want: "Failed “a b\uFFFD[2J”",
		},
		"a payload of a newer version is no reason to stop": {
			event: event(t, "fleet.evt.agent.edge-01", "agent.dreamt", `[]`), want: "agent.dreamt           edge-01",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := EventLine(tt.event, tt.foreign, false)
			if !strings.HasPrefix(got, "2026-11-24 12:00:00.000      42  ") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("got  %q\nwant it to end with %q", got, tt.want)
			}
			if strings.Contains(got, "\x1b") || strings.Contains(got, "\n") {
				t.Errorf("control characters in %q", got)
			}
		})
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	e := event(t, "fleet.evt.device.edge-01", eventlog.DeviceOffline, `{"reason":"PulseMissed"}`)
	if got := EventLine(e, nil, true); !strings.Contains(got, red+"device.offline") {
		t.Errorf("no red in %q", got)
	}
}

// Every type of the catalogue has a summary that survives any payload.
func FuzzSummary(f *testing.F) {
	f.Add(0, []byte(`{}`))
	f.Add(3, []byte(`{"reason":"x"}`))
	types := eventlog.Types()
	f.Fuzz(func(t *testing.T, n int, data []byte) {
		kind := types[uint(n)%uint(len(types))]
		line := EventLine(eventlog.Event{Type: kind, Address: eventlog.Address{Family: kind.Family(), Device: "d"}, Data: data}, nil, false)
		if strings.ContainsAny(line, "\n\x1b") {
			t.Errorf("control characters in %q", line)
		}
	})
}
