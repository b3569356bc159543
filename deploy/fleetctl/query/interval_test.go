package query

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

func TestABufferHoldsTheLastOrSortsAll(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	// The events 1 to 5, a minute apart; 4 is a report of what happened at half a
	// minute past noon.
	var log []eventlog.Event
	for seq := uint64(1); seq <= 5; seq++ {
		e := eventlog.Event{Sequence: seq, Recorded: noon.Add(time.Duration(seq-1) * time.Minute), Type: eventlog.StateReported}
		if seq == 4 {
			e.Data = []byte(`{"last_event_at":"2026-11-24T12:00:30Z"}`)
		}
		log = append(log, e)
	}
	tests := map[string]struct {
		buffer buffer
		want   []uint64
	}{
		"the last three":                    {buffer{tail: 3}, []uint64{3, 4, 5}},
		"more than there are":               {buffer{tail: 9}, []uint64{1, 2, 3, 4, 5}},
		"just as many":                      {buffer{tail: 5}, []uint64{1, 2, 3, 4, 5}},
		"as it happened":                    {buffer{asHappened: true}, []uint64{1, 4, 2, 3, 5}},
		"as it happened, the last two":      {buffer{asHappened: true, tail: 2}, []uint64{3, 5}},
		"as it happened, until a moment":    {buffer{asHappened: true, until: noon.Add(time.Minute)}, []uint64{1, 4, 2}},
		"as it happened, from a moment on":  {buffer{asHappened: true, since: noon.Add(time.Minute)}, []uint64{2, 3, 5}},
		"as it happened, and late that day": {buffer{asHappened: true, since: noon.Add(time.Hour)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, e := range log {
				if err := tt.buffer.add(e, nil); err != nil {
					t.Fatal(err)
				}
			}
			var got []uint64
			if err := tt.buffer.each(func(e eventlog.Event, _ error) error { got = append(got, e.Sequence); return nil }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sequences (-want +got):\n%s", diff)
			}
		})
	}
}
