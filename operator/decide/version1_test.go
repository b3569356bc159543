package decide_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Law 9: a log that an operator wrote before there were batches, of which all events are
// of version 1, gives nothing to any device and says nothing of any rollout. How its
// devices stand is as it was.
func TestALogOfVersion1AssignsNothing(t *testing.T) {
	t.Parallel()
	const immediate = `{"strategy":"Immediate"}`
	healthy := func(l *oldLog) {
		l.revision(1, "app:1")
		l.report("a", "b", "c")
		l.rollout("rollout.completed.v1", 1)
		l.revision(2, "app:2")
		l.report("a", "b", "c")
		l.rollout("rollout.completed.v1", 2)
	}
	tests := map[string]struct {
		tell func(l *oldLog)
		// settings are spec.rollout as the API has it now.
		settings string
		want     map[rollout.Standing]int
		phase    fleet.Phase
		stable   uint64
	}{
		"two revisions went out and all is well": {healthy, immediate, map[rollout.Standing]int{rollout.Healthy: 3}, fleet.PhaseCompleted, 2},
		"a device is offline since":              {func(l *oldLog) { healthy(l); l.presence("b", "device.offline.v1") }, immediate, map[rollout.Standing]int{rollout.Healthy: 3}, fleet.PhaseCompleted, 2},
		"a device failed after its rollout completed": {
			func(l *oldLog) { healthy(l); l.phase = eventlog.PhaseFailed; l.report("c") }, immediate,
			map[rollout.Standing]int{rollout.Healthy: 2, rollout.StandsFailed: 1},
			fleet.PhaseCompleted, 2,
		},
		"a revision is on its way": {
			func(l *oldLog) { healthy(l); l.revision(3, "app:3"); l.report("a", "b") }, immediate,
			map[rollout.Standing]int{rollout.Healthy: 2, rollout.Updating: 1},
			fleet.PhaseProgressing, 2,
		},
		"a revision is on its way that a device which is offline has": {
			func(l *oldLog) {
				healthy(l)
				l.presence("c", "device.offline.v1")
				l.revision(3, "app:3")
				l.report("a", "b")
			}, immediate,
			map[rollout.Standing]int{rollout.Healthy: 2, rollout.Offline: 1},
			fleet.PhaseProgressing, 2,
		},
		"the object says no strategy any more": {healthy, `{}`, map[rollout.Standing]int{rollout.Healthy: 3}, fleet.PhaseCompleted, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newOldLog(t)
			tt.tell(l)
			w := &world{failer: t, State: decide.NewState(l.view), seq: l.sequence}
			for _, id := range []string{"a", "b", "c"} {
				w.label(id, "site", "lab")
			}
			d := cr("shop", "web", l.image, site, withRollout(tt.settings), generation(l.revisions))
			w.Tick(now)
			due := w.settle(decide.OfDevice("a"), decide.OfDevice("b"), decide.OfDevice("c"), w.put(d), decide.OfProgress(key("shop/web")))
			got := map[rollout.Standing]int{}
			p := w.Progress(key("shop/web"))
			for st, n := range p.Standings {
				if n > 0 {
					got[rollout.Standing(st)] = n
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || p.Owes {
				t.Errorf("owes %v; standings (-want +got):\n%s", p.Owes, diff)
			}
			w.Tick(now.Add(100 * 24 * time.Hour))
			due = append(due, w.settle(decide.OfProgress(key("shop/web")))...)
			for _, e := range due {
				if tt.settings == immediate || e.Type != eventlog.DeploymentApplied {
					t.Errorf("the operator says %s", e.Type)
				}
			}
			log := l.view.Deployments[key("shop/web")]
			if log.Run.Phase != tt.phase || log.Stable.Revision != tt.stable || log.Run.Kind != eventlog.RunImmediate {
				t.Errorf("the run is %s, of kind %s, and stable is revision %d; want %s, Immediate, %d", log.Run.Phase, log.Run.Kind, log.Stable.Revision, tt.phase, tt.stable)
			}
		})
	}
}

// oldLog writes events as the operator before batches did, after the golden files of
// version 1.
type oldLog struct {
	*testing.T
	view      *fleet.View
	sequence  uint64
	score     json.RawMessage
	image     string
	hash      string
	phase     eventlog.Phase
	revisions int64
}

func newOldLog(t *testing.T) *oldLog {
	l := &oldLog{T: t, view: fleet.New(), phase: eventlog.PhaseRunning}
	l.tell("leader.elected.v1", eventlog.LeaderSubject, nil)
	for _, id := range []string{"a", "b", "c"} {
		l.tell("info.reported.v1", eventlog.InfoSubject(id), map[string]any{"device_id": id})
		l.tell("device.registered.v1", eventlog.DeviceSubject(id), nil)
		l.tell("device.relabeled.v1", eventlog.DeviceSubject(id), map[string]any{"labels": map[string]any{
			"site": map[string]string{"value": "lab", "owner": eventlog.OwnerDevice}, v1alpha1.LabelDevice: map[string]string{"value": id, "owner": "fleet-operator"},
		}})
		l.presence(id, "device.online.v1")
	}
	return l
}

// tell appends the event of a golden file, with another subject and other fields.
func (l *oldLog) tell(golden, subject string, fields map[string]any) {
	b, err := os.ReadFile(filepath.Join("..", "..", "eventlog", "testdata", "golden", golden+".json"))
	if err != nil {
		l.Fatal(err)
	}
	var file struct {
		Header nats.Header
		Data   json.RawMessage
	}
	if err := json.Unmarshal(b, &file); err != nil {
		l.Fatal(err)
	}
	if fields != nil {
		data := map[string]any{}
		if err := json.Unmarshal(file.Data, &data); err != nil {
			l.Fatal(err)
		}
		for k, v := range fields {
			data[k] = v
		}
		if file.Data, err = json.Marshal(data); err != nil {
			l.Fatal(err)
		}
	}
	l.append(subject, file.Header, file.Data)
}

func (l *oldLog) append(subject string, header nats.Header, data []byte) {
	l.sequence++
	id := fmt.Sprintf("ID-%d", l.sequence)
	header.Set("ce-id", id)
	header.Set("Nats-Msg-Id", id)
	e, err := eventlog.Decode(subject, header, data, l.sequence, now.Add(-time.Hour))
	if err != nil {
		l.Fatal(err)
	}
	if v := e.Version; v != 1 {
		l.Fatalf("%s is of version %d", e.Type, v)
	}
	fleet.Apply(l.view, e, eventlog.Check(e))
}

func (l *oldLog) presence(id, golden string) { l.tell(golden, eventlog.DeviceSubject(id), nil) }

// revision is a spec that is given to all at once.
func (l *oldLog) revision(n int64, image string) {
	spec := decide.SpecOf(cr("shop", "web", image, site))
	l.score, l.hash, l.image, l.revisions = spec.Score, spec.Hash, image, n
	subject := eventlog.DeploymentSubject("shop", "web")
	l.tell("deployment.applied.v1", subject, map[string]any{
		"uid": "uid-shop-web", "generation": n, "revision": n, "score": l.score, "score_hash": l.hash, "selector": spec.Recorded, "change_cause": "",
	})
	l.rollout("rollout.started.v1", n)
	for _, id := range []string{"a", "b", "c"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "eventlog", "testdata", "golden", "desired.assigned.v1.json"))
		if err != nil {
			l.Fatal(err)
		}
		var file struct{ Header nats.Header }
		if err := json.Unmarshal(b, &file); err != nil {
			l.Fatal(err)
		}
		file.Header.Set("Fleet-Revision", fmt.Sprint(n))
		l.append(eventlog.DesiredSubject(id, "web"), file.Header, l.score)
	}
}

func (l *oldLog) rollout(golden string, n int64) {
	l.tell(golden, eventlog.DeploymentSubject("shop", "web"), map[string]any{"revision": n, "reason": ""})
}

// report is what an agent of that time says: it names no assignment.
func (l *oldLog) report(ids ...string) {
	for _, id := range ids {
		l.tell("state.reported.v1", eventlog.StateSubject(id, "web"), map[string]any{
			"device_id": id, "phase": l.phase, "score_hash": l.hash, "revision": l.revisions,
		})
	}
}
