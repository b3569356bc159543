package present_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
)

func TestAnOperatorSaysHowFarItHasFoldedTheLog(t *testing.T) {
	t.Parallel()
	js := log(t)
	is, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := present.Fold(t.Context(), js); !errors.Is(err, nats.ErrNoResponders) || !errors.Is(err, present.ErrNoOperator) {
		t.Errorf("no operator listens, and the error is %v", err)
	}
	ends := func(end eventlog.SyncEnd) func(*nats.Msg) {
		return func(m *nats.Msg) {
			m.Header.Set(eventlog.HeaderSyncEnd, "true")
			m.Data, _ = json.Marshal(end)
		}
	}
	for name, tc := range map[string]struct {
		answer func(*nats.Msg)
		want   attention.Fold
	}{
		"an operator that has folded all lacks nothing":          {ends(eventlog.SyncEnd{LogID: is.ID, LogSequence: is.Last}), attention.Fold{Sequence: is.Last}},
		"an operator that is ahead of this look lacks nothing":   {ends(eventlog.SyncEnd{LogID: is.ID, LogSequence: is.Last + 9}), attention.Fold{Sequence: is.Last + 9}},
		"an operator that stands still lacks the next event":     {ends(eventlog.SyncEnd{LogID: is.ID, LogSequence: 2}), attention.Fold{Sequence: 2, Lacks: 3}},
		"an operator of another log lacks all of this one":       {ends(eventlog.SyncEnd{LogID: "other", LogSequence: is.Last}), attention.Fold{Lacks: is.First}},
		"an operator that folds the log still says that it does": {func(m *nats.Msg) { m.Header.Set(eventlog.HeaderSyncError, eventlog.SyncNotReady) }, attention.Fold{Refused: eventlog.SyncNotReady}},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := js.Conn().Subscribe(present.FoldSubject(), func(m *nats.Msg) {
				out := &nats.Msg{Header: nats.Header{}}
				out.Header.Set(eventlog.HeaderSync, m.Header.Get(eventlog.HeaderSync))
				tc.answer(out)
				if err := m.RespondMsg(out); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := present.Fold(t.Context(), js)
			if unsubscribed := sub.Unsubscribe(); unsubscribed != nil {
				t.Fatal(unsubscribed)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, *got, cmpopts.IgnoreFields(attention.Fold{}, "Since")); diff != "" {
				t.Error(diff)
			}
			if got.Lacks != 0 && time.Since(got.Since) > time.Hour || got.Lacks == 0 && !got.Since.IsZero() {
				t.Errorf("what it lacks was recorded at %s", got.Since)
			}
		})
	}
}
