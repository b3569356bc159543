package moments_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
	"fleet.nationtech.io/projections/fleet"
)

// The dashboard lists an operator that is behind, as fleetctl top does.
func TestThePresentKnowsHowFarAnOperatorHasFoldedTheLog(t *testing.T) {
	t.Parallel()
	js := life(t, 20)
	is, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Conn().Subscribe(present.FoldSubject(), func(m *nats.Msg) {
		out := &nats.Msg{Header: nats.Header{}}
		out.Header.Set(eventlog.HeaderSync, m.Header.Get(eventlog.HeaderSync))
		out.Header.Set(eventlog.HeaderSyncEnd, "true")
		out.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: is.ID, LogSequence: 3})
		if err := m.RespondMsg(out); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	facts, ahead, err := start(t, js, 1).Present(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := facts.Fold; f == nil || f.Sequence != 3 || f.Lacks != 4 {
		t.Fatalf("the operator has folded up to event 3, and what is known of it is %+v", f)
	}
	items := attention.Of(fleet.New(), time.Now().Add(ahead+time.Hour), facts)
	if !slices.ContainsFunc(items, func(i attention.Item) bool {
		return i.Kind == attention.OperatorBehind && i.Severity == attention.Critical
	}) {
		t.Errorf("an hour later the list is %+v", items)
	}
}
