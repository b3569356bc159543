package eventlog_test

import (
	"errors"
	"testing"

	"fleet.nationtech.io/eventlog"
)

func TestAReportThatIsForeignSaysWhy(t *testing.T) {
	t.Parallel()
	const prefix = "foreign message: "
	tests := map[string]struct {
		family  eventlog.Family
		payload string
		want    string
	}{
		"an empty object":                   {eventlog.FamilyState, `{}`, "payload has no device_id"},
		"null":                              {eventlog.FamilyState, `null`, "payload has no device_id"},
		"a state without a deployment":      {eventlog.FamilyState, `{"device_id":"pi-01"}`, "payload has no deployment"},
		"a state of another device":         {eventlog.FamilyState, `{"device_id":"pi-02","deployment":"web"}`, `payload speaks of deployment "web" on device "pi-02"`},
		"a state of another deployment":     {eventlog.FamilyState, `{"device_id":"pi-01","deployment":"db"}`, `payload speaks of deployment "db" on device "pi-01"`},
		"a state in a phase that is none":   {eventlog.FamilyState, `{"device_id":"pi-01","deployment":"web","phase":"Done"}`, `phase "Done" is none of Pending, Running, Failed`},
		"an info that is an empty object":   {eventlog.FamilyInfo, `{}`, "payload has no device_id"},
		"an info of another device, quoted": {eventlog.FamilyInfo, `{"device_id":"a\nb"}`, `payload speaks of device "a\nb"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := eventlog.Event{Type: eventlog.StateReported, Address: eventlog.Address{Family: test.family, Device: "pi-01", Deployment: "web"}, Data: []byte(test.payload)}
			_, err := e.State()
			if test.family == eventlog.FamilyInfo {
				e.Type, e.Address.Deployment = eventlog.InfoReported, ""
				_, err = e.Info()
			}
			if !errors.Is(err, eventlog.ErrForeign) || err.Error() != prefix+test.want {
				t.Errorf("it says %q, want %q", err, prefix+test.want)
			}
		})
	}
}
