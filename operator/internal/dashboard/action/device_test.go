package action_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
)

// A device's access is revoked, given back, and the device taken out of the fleet; the events
// that answer name the request as their cause.
func TestAnOperatorDecidesWhetherADeviceIsLetIn(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	const id = "device-00001"
	o.AnswerRequests(func(e eventlog.Event, q eventlog.Request) eventlog.Draft {
		subject, typ, payload := eventlog.AccessSubject(id), eventlog.AccessRevoked, any(eventlog.Access{Reason: "Requested", Message: q.Reason})
		switch q.Verb {
		case eventlog.RequestAllow:
			typ = eventlog.AccessAllowed
		case eventlog.RequestDecommission:
			subject, typ, payload = eventlog.DeviceSubject(id), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Requested"}
		}
		d, err := eventlog.NewDraft(subject, typ, e.Time, payload)
		if err != nil {
			t.Error(err)
		}
		d.Actor, d.CausationID = e.Address.User, e.ID
		return d
	})
	for _, step := range []struct{ action, confirm, says string }{
		{"revoke", "yes", "the access of device-00001 is revoked"},
		{"allow", "", "device-00001 is allowed"},
		{"decommission", id, "device-00001 is decommissioned"},
	} {
		dashboardtest.Eventually(t, "the page offers to "+step.action, func() bool {
			_, body := o.Get("/devices/"+id+"/"+step.action, dashboardtest.AsPerson, "ann")
			return strings.Contains(body, `<form method="post" class="act"`)
		})
		if _, body := o.Act("ann", "/devices/"+id+"/"+step.action, "confirm", step.confirm, "reason", "shop 17"); !strings.Contains(body, step.says) {
			t.Errorf("%s: the page does not say %q:\n%s", step.action, step.says, body)
		}
	}
	if diff := cmp.Diff([]string{"ann revoke because shop 17", "ann allow because shop 17", "ann decommission because shop 17"}, o.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	dashboardtest.Eventually(t, "the device can be allowed again", func() bool {
		answer, body := o.Get("/devices/"+id+"/allow", dashboardtest.AsPerson, "ann")
		return answer.StatusCode == http.StatusOK && strings.Contains(body, `<form method="post" class="act"`)
	})
}

func TestAPingShowsHowTheDeviceAnswered(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	ping := func() string {
		_, body := o.Post("ann", "/devices/device-00001/ping", o.Form("ann", "/devices/device-00001/ping"))
		return body
	}
	if body := ping(); !strings.Contains(body, "did not answer") || !strings.Contains(body, "not connected") {
		t.Errorf("a device that is not connected:\n%s", body)
	}
	sub, err := o.Operator.Subscribe(eventlog.DeviceCommandSubject("device-00001", eventlog.VerbPing), func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"device_id":"device-00001","agent_version":"1.2.3 <script>"}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := o.Operator.Flush(); err != nil { // else the ping could come before the subscription
		t.Fatal(err)
	}
	if body := ping(); !strings.Contains(body, "answered</span> in") || !strings.Contains(body, "agent 1.2.3 &lt;script&gt;") {
		t.Errorf("a device that answers:\n%s", body)
	}
	answer, body := o.Send("ann", "/api/v1/devices/device-00001/ping", "", "Authorization", "Bearer hers")
	var pong model.Pong
	if err := json.Unmarshal([]byte(body), &pong); err != nil || answer.StatusCode != http.StatusOK || !pong.Answered || pong.RoundTrip <= 0 {
		t.Errorf("as JSON: %s %s (%v)", answer.Status, body, err)
	}
}
