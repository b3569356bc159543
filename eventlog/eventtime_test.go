package eventlog_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

func TestHappened(t *testing.T) {
	t.Parallel()
	recorded := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	early, late := recorded.Add(-90*time.Minute), recorded.Add(time.Minute)
	said := func(t time.Time) nats.Header {
		return nats.Header{eventlog.HeaderTime: {t.Format(time.RFC3339Nano)}}
	}
	state := func(t time.Time) []byte {
		return []byte(`{"device_id":"pi-01","deployment":"web","phase":"Running","last_event_at":"` + t.Format(time.RFC3339Nano) + `"}`)
	}
	tests := map[string]struct {
		subject string
		header  nats.Header
		data    []byte
		want    time.Time
	}{
		"a state of a plain KV client by its payload":     {subject: eventlog.StateSubject("pi-01", "web"), data: state(early), want: early},
		"an info of a plain KV client by its payload":     {subject: eventlog.InfoSubject("pi-01"), data: []byte(`{"device_id":"pi-01","updated_at":"2026-11-24T11:30:00+01:00"}`), want: early},
		"the envelope wins over the payload":              {subject: eventlog.StateSubject("pi-01", "web"), header: said(early), data: state(recorded.Add(-time.Hour)), want: early},
		"nothing happened after it was recorded":          {subject: eventlog.StateSubject("pi-01", "web"), data: state(late), want: recorded},
		"nor by the envelope":                             {subject: eventlog.StateSubject("pi-01", "web"), header: said(late), data: state(early), want: recorded},
		"a payload without a time says nothing":           {subject: eventlog.InfoSubject("pi-01"), data: []byte(`{"device_id":"pi-01"}`), want: recorded},
		"nor does one that cannot be read":                {subject: eventlog.InfoSubject("pi-01"), data: []byte(`{`), want: recorded},
		"a removal without an envelope is when it is":     {subject: eventlog.InfoSubject("pi-01"), header: nats.Header{eventlog.HeaderKVOperation: {"DEL"}}, want: recorded},
		"what the payload of a decision says is not when": {subject: eventlog.DeviceSubject("pi-01"), header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DeviceOnline, 1)}}, data: []byte(`{"at":"2026-11-24T11:30:00Z"}`), want: recorded},
		"a step of an agent without an envelope":          {subject: eventlog.AgentSubject("pi-01"), header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.AgentStepFailed, 1)}}, data: []byte(`{"at":"2026-11-24T10:30:00Z"}`), want: early},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := eventlog.Decode(tt.subject, tt.header, tt.data, 1, recorded)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.EventTime(); !got.Equal(tt.want) {
				t.Errorf("happened %s, want %s", got, tt.want)
			}
		})
	}
}
