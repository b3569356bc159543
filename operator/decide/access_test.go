package decide_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

func (w *world) requestAccess(id, verb, reason string) {
	w.tell(eventlog.DeviceRequestSubject("ada", id), eventlog.RequestMade, eventlog.Request{Verb: verb, Reason: reason})
}

func TestARequestAboutAccessIsAnsweredInThePersonsName(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(*world)
		want []string
	}{
		"a device is cut off, and keeps what is on it": {
			do:   func(w *world) { w.lives("pi-01"); w.requestAccess("pi-01", eventlog.RequestRevoke, "stolen") },
			want: []string{"access.revoked access.pi-01"},
		},
		"a device is let in again": {
			do: func(w *world) {
				w.lives("pi-01")
				w.requestAccess("pi-01", eventlog.RequestRevoke, "stolen")
				w.settle(decide.OfDevice("pi-01"))
				w.requestAccess("pi-01", eventlog.RequestAllow, "found")
			},
			want: []string{"access.allowed access.pi-01"},
		},
		"asked twice, it is done once": {
			do: func(w *world) {
				w.lives("pi-01")
				w.requestAccess("pi-01", eventlog.RequestRevoke, "stolen")
				w.requestAccess("pi-01", eventlog.RequestRevoke, "stolen")
			},
			want: []string{"access.revoked access.pi-01"},
		},
		"a request to allow goes before a departure that is due": {
			do: func(w *world) {
				w.lives("pi-01")
				w.requestDecommission("pi-01")
				w.requestAccess("pi-01", eventlog.RequestAllow, "found")
			},
			want: []string{"access.allowed access.pi-01"},
		},
		"an id that never reported can be cut off": {
			do: func(w *world) {
				w.requestAccess("pi-09", eventlog.RequestRevoke, "stolen")
				w.requestAccess("pi-01", "dance", "")
			},
			want: []string{"access.revoked access.pi-09"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.do(w)
			if diff := cmp.Diff(tt.want, told(w.settle(decide.OfDevice("pi-01"), decide.OfDevice("pi-09")))); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheAnswerAboutAccessNamesThePersonTheRequestAndTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lives("pi-01")
	w.requestAccess("pi-01", eventlog.RequestRevoke, strings.Repeat("ä", 1000))
	asked := w.View().Devices["pi-01"].AccessRequest.Mark.ID
	due := w.settle(decide.OfDevice("pi-01"))
	if len(due) != 1 {
		t.Fatalf("due: %v", told(due))
	}
	p, err := eventlog.Payload[eventlog.Access](eventlog.Event{Type: due[0].Type, Version: 1, Data: due[0].Data})
	if err != nil {
		t.Fatal(err)
	}
	if due[0].Actor != "ada" || due[0].CausationID != asked || p.Reason != decide.ReasonRequested {
		t.Errorf("actor %q, cause %q, reason %q; want ada, %q, %s", due[0].Actor, due[0].CausationID, p.Reason, asked, decide.ReasonRequested)
	}
	if p.Message != strings.Repeat("ä", 512) {
		t.Errorf("the message has %d bytes; want the first 1024 of the reason", len(p.Message))
	}
}
