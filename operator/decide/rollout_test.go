package decide_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// show is a fleet whose devices do what they are told, in the test's own time.
type show struct {
	*world
	ids    []string
	clock  time.Duration
	nature map[string]eventlog.Phase // by image: what devices report of it; empty: nothing
	dead   map[string]bool           // images that take a device offline
	gen    int64
}

func newShow(t failer, n int) *show {
	s := &show{world: newWorld(t), nature: map[string]eventlog.Phase{"app:1": eventlog.PhaseRunning}, dead: map[string]bool{}}
	for i := range n {
		id := fmt.Sprintf("pi-%03d", i)
		s.ids = append(s.ids, id)
		s.tell(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id})
		s.settle(decide.OfDevice(id), s.label(id, "site", "lab"))
		s.online(id)
	}
	return s
}

func (s *show) online(id string) {
	s.tell(eventlog.DeviceSubject(id), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"})
}

func (s *show) offline(id string) {
	s.tell(eventlog.DeviceSubject(id), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"})
}

func withRollout(text string) crOption {
	return func(d *v1alpha1.Deployment) {
		d.Spec.Rollout = v1alpha1.RolloutSpec{}
		if err := json.Unmarshal([]byte(text), &d.Spec.Rollout); err != nil {
			panic(err)
		}
	}
}

// apply applies a/web with an image and settings.
func (s *show) apply(image, settings string, more ...crOption) {
	s.gen++
	s.settle(s.put(cr("a", "web", image, site, append([]crOption{generation(s.gen), withRollout(settings)}, more...)...)))
}

// pass lets time go by and devices act, until nothing changes within the step.
func (s *show) pass(d time.Duration) {
	s.clock += d
	s.later = s.clock / time.Second
	s.Tick(now.Add(s.clock))
	for range 50 {
		n := len(s.log)
		s.act()
		s.Tick(now.Add(s.clock))
		s.settle(decide.OfProgress(key("a/web")))
		if len(s.log) == n {
			return
		}
	}
	s.Fatalf("the fleet does not come to rest")
}

func (s *show) act() {
	for _, id := range s.ids {
		dev := s.View().Devices[id]
		p := dev.Pair("web")
		if p == nil || !p.Assigned() || dev.Presence.Online != fleet.OnlineTrue {
			continue
		}
		image := imageOf(s.log, p.Desired.Sequence)
		phase := s.nature[image]
		switch {
		case s.dead[image]:
			s.offline(id)
		case phase != "" && (p.Reported.Assignment < p.Desired.Sequence || p.Reported.Phase != phase):
			s.tell(eventlog.StateSubject(id, "web"), eventlog.StateReported, eventlog.DeploymentState{
				DeviceID: id, Deployment: "web", Phase: phase, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: now, Reason: "X",
			})
		}
	}
}

func imageOf(log []eventlog.Draft, sequence uint64) string {
	text := string(log[sequence-1].Data)
	_, rest, _ := strings.Cut(text, `"image":"`)
	image, _, _ := strings.Cut(rest, `"`)
	return image
}

func (s *show) run() *fleet.Run { return &s.View().Deployments[key("a/web")].Run }

// given counts the devices that have an image.
func (s *show) given(image string) (n int) {
	for _, id := range s.ids {
		if p := s.View().Devices[id].Pair("web"); p != nil && p.Assigned() && imageOf(s.log, p.Desired.Sequence) == image {
			n++
		}
	}
	return n
}

// rollouts lists the rollout events from a place of the log on, with batch and reason.
func (s *show) rollouts(from int) (said []string) {
	for _, d := range s.log[from:] {
		if !strings.HasPrefix(string(d.Type), "rollout.") {
			continue
		}
		var r eventlog.Rollout
		if err := json.Unmarshal(d.Data, &r); err != nil {
			s.Fatalf("%v", err)
		}
		text := strings.TrimPrefix(string(d.Type), "rollout.")
		if r.Batch > 0 {
			text += fmt.Sprintf(" %d", r.Batch)
		}
		if r.Reason != "" {
			text += " " + r.Reason
		}
		said = append(said, text)
	}
	return said
}

func (s *show) ask(verb string, more func(*eventlog.Request)) {
	d := s.View().Deployments[key("a/web")]
	q := eventlog.Request{Verb: verb, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch}
	if more != nil {
		more(&q)
	}
	s.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, q)
	s.settle(decide.OfProgress(key("a/web")))
}

const threeBatches = `{"batches":[{"size":1,"soak":"1m"},{"size":"50%","soak":"1m"},{"soak":"1m"}],"maxUnavailable":"100%"}`

func TestRollouts(t *testing.T) {
	t.Parallel()
	type story struct {
		devices int
		tell    func(*show) int // gives from where on the rollout events are compared
		want    []string
		given   map[string]int
		phase   fleet.Phase
	}
	begin := func(s *show, settings string) int {
		s.apply("app:1", settings)
		s.pass(0)
		for range 4 {
			s.pass(time.Minute)
		}
		if s.run().Phase != fleet.PhaseCompleted {
			s.Fatalf("the first revision is %s: %v", s.run().Phase, s.rollouts(0))
		}
		return len(s.log)
	}
	steps := func(s *show, n int) {
		for range n {
			s.pass(time.Minute)
		}
	}
	tests := map[string]story{
		"a good update goes through its batches, each after a soak": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				s.pass(0)
				if n := s.given("app:2"); n != 1 {
					s.Fatalf("%d devices at once, want the canary alone", n)
				}
				steps(s, 1)
				if n := s.given("app:2"); n != 5 {
					s.Fatalf("%d devices after a soak, want 5", n)
				}
				steps(s, 3)
				return from
			},
			want:  []string{"started Applied", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"},
			given: map[string]int{"app:2": 10}, phase: fleet.PhaseCompleted,
		},
		"a canary that fails pauses the update with one device touched": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseFailed
				s.apply("app:2", threeBatches)
				steps(s, 5)
				return from
			},
			want:  []string{"started Applied", "batch_failed 1 Pause", "paused 1 BatchFailed"},
			given: map[string]int{"app:1": 9, "app:2": 1}, phase: fleet.PhasePaused,
		},
		"a canary that fails is rolled back, and the content is refused": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseFailed
				s.apply("app:2", strings.Replace(threeBatches, `{"batches`, `{"onFailure":"Rollback","batches`, 1))
				steps(s, 5)
				s.apply("app:2", strings.Replace(threeBatches, `{"batches`, `{"onFailure":"Rollback","batches`, 1)) // GitOps applies it again
				steps(s, 5)
				return from
			},
			want:  []string{"started Applied", "batch_failed 1 Rollback", "started BatchFailed", "rolled_back"},
			given: map[string]int{"app:1": 10}, phase: fleet.PhaseRolledBack,
		},
		"an image that takes its device offline stops at the canary": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.dead["app:2"] = true
				s.apply("app:2", threeBatches)
				steps(s, 15)
				return from
			},
			want:  []string{"started Applied", "batch_failed 1 Pause", "paused 1 BatchFailed"},
			given: map[string]int{"app:1": 9, "app:2": 1}, phase: fleet.PhasePaused,
		},
		"a device that says nothing fails its batch at the deadline": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.apply("app:2", threeBatches)
				steps(s, 9)
				if s.run().Phase != fleet.PhaseProgressing {
					s.Fatalf("it is judged before the deadline: %v", s.rollouts(from))
				}
				steps(s, 2)
				return from
			},
			want:  []string{"started Applied", "batch_failed 1 Pause", "paused 1 BatchFailed"},
			given: map[string]int{"app:1": 9, "app:2": 1}, phase: fleet.PhasePaused,
		},
		"offline devices keep what they have, do not hold the update up, and catch up on their return": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.offline("pi-003")
				s.offline("pi-007")
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				steps(s, 5)
				if n := s.given("app:2"); n != 8 {
					s.Fatalf("%d devices have it, want the 8 that are online", n)
				}
				s.online("pi-003")
				steps(s, 1)
				return from
			},
			want:  []string{"started Applied", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"},
			given: map[string]int{"app:1": 1, "app:2": 9}, phase: fleet.PhaseCompleted,
		},
		"a batch with a manual approval waits for a person": {
			devices: 10,
			tell: func(s *show) int {
				settings := `{"batches":[{"size":1,"soak":"1m","approval":"Manual"},{"soak":"0s"}],"maxUnavailable":"100%"}`
				s.apply("app:1", settings)
				steps(s, 2)
				s.ask(eventlog.RequestPromote, nil)
				steps(s, 2)
				from := len(s.log)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", settings)
				steps(s, 30)
				if n := s.given("app:2"); n != 1 {
					s.Fatalf("%d devices, want 1", n)
				}
				s.ask(eventlog.RequestPromote, func(q *eventlog.Request) { q.Batch = 2 })
				s.ask(eventlog.RequestPromote, nil)
				steps(s, 1)
				return from
			},
			want:  []string{"started Applied", "batch_succeeded 1", "request_refused Outdated", "promoted 1 Requested", "batch_started 2", "batch_succeeded 2", "completed"},
			given: map[string]int{"app:2": 10}, phase: fleet.PhaseCompleted,
		},
		"a person's pause survives a new spec, and upsets nobody until it is resumed": {
			devices: 10,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.ask(eventlog.RequestPause, nil)
				s.nature["app:2"], s.nature["app:3"] = eventlog.PhaseRunning, eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				steps(s, 5)
				s.apply("app:3", threeBatches)
				steps(s, 5)
				if n := s.given("app:1"); n != 10 {
					s.Fatalf("%d devices still have app:1, want all", n)
				}
				s.ask(eventlog.RequestResume, nil)
				steps(s, 5)
				return from
			},
			want: []string{
				"paused Requested", "started Applied", "superseded Superseded", "started Applied", "resumed Requested",
				"batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed",
			},
			given: map[string]int{"app:3": 10}, phase: fleet.PhaseCompleted,
		},
		"an undo goes back, a GitOps apply does not redo it, and the undo of the undo tries again": {
			devices: 4,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				steps(s, 5)
				s.ask(eventlog.RequestUndo, nil)
				steps(s, 3)
				s.apply("app:2", threeBatches)
				steps(s, 3)
				if n := s.given("app:1"); n != 4 {
					s.Fatalf("%d devices have app:1, want 4", n)
				}
				s.ask(eventlog.RequestUndo, nil)
				steps(s, 5)
				return from
			},
			want: []string{
				"started Applied", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed",
				"started Requested", "rolled_back",
				"started Requested", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed",
			},
			given: map[string]int{"app:2": 4}, phase: fleet.PhaseCompleted,
		},
		"a restart gives the same content again, in batches": {
			devices: 4,
			tell: func(s *show) int {
				begin(s, threeBatches)
				from := len(s.log)
				s.ask(eventlog.RequestRestart, nil)
				steps(s, 5)
				return from
			},
			want:  []string{"started Requested", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"},
			given: map[string]int{"app:1": 4}, phase: fleet.PhaseCompleted,
		},
		"an abort leaves the devices as they are, and retry tries again": {
			devices: 4,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				s.pass(0)
				s.ask(eventlog.RequestAbort, nil)
				steps(s, 5)
				if n := s.given("app:2"); n != 1 {
					s.Fatalf("%d devices have app:2, want 1", n)
				}
				s.ask(eventlog.RequestRetry, nil)
				steps(s, 5)
				return from
			},
			want: []string{
				"started Applied", "aborted Requested", "started Requested",
				"batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed",
			},
			given: map[string]int{"app:2": 4}, phase: fleet.PhaseCompleted,
		},
		"a first revision whose author said no batches goes out at once": {
			devices: 10,
			tell: func(s *show) int {
				s.apply("app:1", `{}`)
				s.pass(0)
				return 0
			},
			want:  []string{"started Applied", "batch_succeeded 1", "completed"},
			given: map[string]int{"app:1": 10}, phase: fleet.PhaseCompleted,
		},
		"a fleet of three goes through the default batches": {
			devices: 3,
			tell: func(s *show) int {
				s.apply("app:1", `{}`)
				s.pass(0)
				from := len(s.log)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", `{}`)
				steps(s, 20)
				return from
			},
			want:  []string{"started Applied", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"},
			given: map[string]int{"app:2": 3}, phase: fleet.PhaseCompleted,
		},
		"a selector of a batch that selects nobody pauses before a device is touched": {
			devices: 3,
			tell: func(s *show) int {
				s.apply("app:1", `{}`)
				s.pass(0)
				from := len(s.log)
				s.apply("app:2", `{"batches":[{"selector":{"matchLabels":{"canary":"yes"}}},{}]}`)
				steps(s, 3)
				return from
			},
			want:  []string{"started Applied", "paused PinMatchesNothing"},
			given: map[string]int{"app:1": 3}, phase: fleet.PhasePaused,
		},
		"four devices of which one was given the next revision do not make a completed rollout": {
			devices: 4,
			tell: func(s *show) int {
				from := begin(s, threeBatches)
				s.nature["app:2"] = eventlog.PhaseRunning
				s.apply("app:2", threeBatches)
				s.pass(0)
				if n := s.Progress(key("a/web")).Standings; n[rollout.Healthy] != 1 || n[rollout.StandsWaiting] != 3 {
					s.Fatalf("standings %v, want 1 healthy and 3 waiting", n)
				}
				return from
			},
			want:  []string{"started Applied"},
			given: map[string]int{"app:1": 3, "app:2": 1}, phase: fleet.PhaseProgressing,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShow(t, tt.devices)
			from := tt.tell(s)
			if diff := cmp.Diff(tt.want, s.rollouts(from)); diff != "" {
				t.Errorf("rollout events (-want +got):\n%s", diff)
			}
			for image, n := range tt.given {
				if got := s.given(image); got != n {
					t.Errorf("%d devices have %s, want %d", got, image, n)
				}
			}
			if s.run().Phase != tt.phase {
				t.Errorf("phase %s, want %s (%s: %s)", s.run().Phase, tt.phase, s.run().Reason, s.run().Message)
			}
		})
	}
}

// wake asks about rollouts as the operator does when no input is there: for as long as
// something falls due now.
func (s *show) wake() {
	for range 50 {
		if at := s.Wake(); at.IsZero() || at.After(s.Clock()) {
			return
		}
		due, err := decide.Due(s.State, s.at())
		if err != nil {
			s.Fatalf("%v", err)
		}
		s.append(due...)
		s.settle()
	}
	s.Fatalf("the operator wakes up for ever")
}

// Devices come after the Deployment, as after a GitOps engine filled an empty cluster; or
// they leave a batch that waits for them. No input is about the Deployment then.
func TestARolloutHearsThatDevicesCameOrLeft(t *testing.T) {
	t.Parallel()
	s := newShow(t, 0)
	s.apply("app:1", `{"batches":[{"size":1,"soak":"0s"},{"soak":"0s"}]}`)
	s.wake()
	run := func() *fleet.Run { return &s.View().Deployments[key("a/web")].Run }
	if run().Phase != fleet.PhaseCompleted || run().Reason != fleet.ReasonNoDeviceMatches {
		t.Fatalf("without devices the run is %s, %s", run().Phase, run().Reason)
	}
	for _, id := range []string{"pi-000", "pi-001"} {
		s.tell(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id})
		s.online(id)
		s.settle(decide.OfDevice(id), s.label(id, "site", "lab"))
	}
	s.wake()
	if run().Phase != fleet.PhaseProgressing || len(run().Batches) != 2 {
		t.Fatalf("two devices came, and the run is %s, %s, with batches %v", run().Phase, run().Reason, run().Batches)
	}
	for _, id := range []string{"pi-000", "pi-001"} {
		s.settle(decide.OfDevice(id), s.label(id, "site", "elsewhere"))
	}
	s.wake()
	if run().Phase != fleet.PhaseCompleted || run().Reason != fleet.ReasonNoDeviceMatches {
		t.Errorf("both devices left, and the run is %s, %s", run().Phase, run().Reason)
	}
}
