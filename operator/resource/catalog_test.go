package resource

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// fold appends events to a view, a second apart.
type fold struct {
	t *testing.T
	v *fleet.View
}

func (f fold) say(subject string, kind eventlog.Type, payload any) {
	f.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, time.Time{}, payload)
	if err != nil {
		f.t.Fatal(err)
	}
	a, err := eventlog.ParseSubject(subject)
	if err != nil {
		f.t.Fatal(err)
	}
	seq := f.v.Sequence + 1
	at := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC).Add(time.Duration(seq) * time.Second)
	e := eventlog.Event{
		Sequence: seq, Recorded: at, Time: at, Subject: subject, Address: a, Type: kind, Version: 1, ID: fmt.Sprint(seq), Data: d.Data,
		Namespace: "shop", Revision: 1,
	}
	if kind == eventlog.DeploymentApplied {
		e.Version = 2
	}
	fleet.Apply(f.v, e, nil)
}

const oneService = `{"data":{"services":[{"image":"app:1","name":"web"}]},"type":"PodmanV0"}`

func (f fold) apply(namespace, name, score string, labels map[string]string) {
	f.t.Helper()
	f.say(eventlog.DeploymentSubject(namespace, name), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: "u", Generation: 4, Revision: 1, Selector: eventlog.Selector{MatchLabels: labels},
		Score: json.RawMessage(score), ScoreHash: eventlog.Hash([]byte(score)),
	})
}

func (f fold) device(id, site string) {
	f.t.Helper()
	f.say(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "reported"}})
	f.say(eventlog.DeviceSubject(id), eventlog.DeviceRegistered, eventlog.Registration{})
	f.say(eventlog.DeviceSubject(id), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{"site": {Value: site, Owner: "kubectl"}}})
}

func (f fold) assign(id, name string) {
	f.t.Helper()
	f.say(eventlog.DesiredSubject(id, name), eventlog.DesiredAssigned, json.RawMessage(oneService))
}

func (f fold) report(id, name string, phase eventlog.Phase) {
	f.t.Helper()
	f.say(eventlog.StateSubject(id, name), eventlog.StateReported, eventlog.DeploymentState{DeviceID: id, Deployment: name, Phase: phase})
}

func testView(t *testing.T) *fleet.View {
	t.Helper()
	f := fold{t, fleet.New()}
	f.device("pi-01", "lab")
	f.apply("shop", "web", oneService, map[string]string{"site": "lab"})
	rollout := eventlog.Rollout{Revision: 1, Kind: eventlog.RunImmediate, Strategy: eventlog.StrategyImmediate}
	f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStarted, rollout)
	f.assign("pi-01", "web")
	f.report("pi-01", "web", eventlog.PhaseRunning)
	f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutCompleted, rollout)
	return f.v
}

func TestTheCatalogSaysWhatTheOperatorSays(t *testing.T) {
	t.Parallel()
	lab := map[string]string{"site": "lab"}
	tests := map[string]struct {
		tell func(fold)
		want string // status, reason of Ready
	}{
		"all is well": {func(fold) {}, "True AllSucceeded"},
		"a device that matches is not yet assigned": {func(f fold) { f.device("pi-02", "lab") }, "False Progressing"},
		"a device ceased to match and is not yet withdrawn": {func(f fold) {
			f.say(eventlog.DeviceSubject("pi-01"), eventlog.DeviceRelabeled, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{"site": {Value: "x", Owner: "kubectl"}}})
		}, "False Progressing"},
		"none matches": {func(f fold) {
			f.apply("shop", "web", oneService, map[string]string{"site": "nowhere"})
			f.say(eventlog.DesiredSubject("pi-01", "web"), eventlog.DesiredWithdrawn, nil)
		}, "True NoDeviceMatches"},
		"an unknown kind of score": {func(f fold) { f.apply("shop", "web", `{"data":{},"type":"WasmV3"}`, lab) }, "False UnsupportedScore"},
		"a score that is none":     {func(f fold) { f.apply("shop", "web", `"?"`, lab) }, "False Unreadable"},
		"an empty selector":        {func(f fold) { f.apply("shop", "web", oneService, nil) }, "False InvalidSelector"},
		"an orphan": {func(f fold) {
			f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{})
		}, "Unknown Orphaned"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fold{t, testView(t)}
			tt.tell(f)
			c := NewCatalog(f.v, f.v.Recorded)
			s := c.deploymentStatus(f.v.Deployments[fleet.Key{Namespace: "shop", Name: "web"}])
			ready := conditionOf(s.Conditions, v1alpha1.ConditionReady)
			if got := string(ready.Status) + " " + ready.Reason; got != tt.want {
				t.Errorf("Ready is %s (%s), want %s", got, ready.Message, tt.want)
			}
		})
	}
}

func TestAResourceOutOfTheLogIsTheOneThatWasApplied(t *testing.T) {
	t.Parallel()
	const cr = `{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment",
		"metadata":{"name":"web","namespace":"shop","uid":"u-1","generation":7,"annotations":{"kubernetes.io/change-cause":"because"}},
		"spec":{"targetSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["d","e"]}]},
		"score":{"type":"PodmanV0","data":{"services":[{"name":"web","image":"app:1","unknown":{"kept":[1,2.50]}}]}},"rollout":{"strategy":"Immediate"}}}`
	var applied v1alpha1.Deployment
	if err := json.Unmarshal([]byte(cr), &applied); err != nil {
		t.Fatal(err)
	}
	before := decide.SpecOf(&applied)
	if before.Problem != nil {
		t.Fatal(before.Problem.Message)
	}
	f := fold{t, fleet.New()}
	f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, eventlog.Deployment{
		UID: before.UID, Generation: before.Generation, Revision: 1, Selector: before.Recorded, Score: before.Score, ScoreHash: before.Hash,
		Rollout: before.Rollout, ChangeCause: before.ChangeCause,
	})
	object, err := deploymentObject(f.v.Deployments[before.Key])
	if err != nil {
		t.Fatal(err)
	}
	after := decide.SpecOf(&object)
	if before.Selector.String() != after.Selector.String() {
		t.Errorf("selector %s, want %s", after.Selector, before.Selector)
	}
	before.Selector, after.Selector = nil, nil
	if diff := cmp.Diff(before, after, cmpopts.IgnoreUnexported(decide.Spec{})); diff != "" {
		t.Errorf("what a decision sees (-applied +out of the log):\n%s", diff)
	}
}

func TestADevicesStandings(t *testing.T) {
	t.Parallel()
	f := fold{t, testView(t)}
	f.assign("pi-01", "gone")
	f.report("pi-01", "gone", eventlog.PhaseRunning)
	f.say(eventlog.DesiredSubject("pi-01", "gone"), eventlog.DesiredWithdrawn, nil)
	f.assign("pi-01", "over")
	f.say(eventlog.DesiredSubject("pi-01", "over"), eventlog.DesiredWithdrawn, nil)
	f.report("pi-01", "stray", eventlog.PhaseFailed)
	f.assign("pi-01", "fresh")
	want := "shop/fresh=Pending,shop/gone=Withdrawn,stray=Unknown,shop/web=Running"
	if got := standingText(standings(f.v.Devices["pi-01"])); got != want {
		t.Errorf("on the device: %s, want %s", got, want)
	}
	c := NewCatalog(f.v, f.v.Recorded)
	s := c.deviceStatus(f.v.Devices["pi-01"])
	conflicts := []v1alpha1.LabelConflict{{Key: "site", Reported: "reported", Kept: "lab", Manager: "kubectl"}}
	if diff := cmp.Diff(conflicts, s.LabelConflicts); diff != "" {
		t.Errorf("label conflicts (-want +got):\n%s", diff)
	}
}

// What the operator could not record it records as refused, so get says of it what
// the custom resource says: also where nothing else of it is in the log.
func TestARefusedDeploymentReadsAsItsCustomResource(t *testing.T) {
	t.Parallel()
	no := func(generation int64) eventlog.Refusal {
		return eventlog.Refusal{UID: "u", Generation: generation, Reason: v1alpha1.ReasonTooLarge, Message: "the score is too large"}
	}
	web := fleet.Key{Namespace: "shop", Name: "web"}
	for name, tt := range map[string]struct {
		story      func(fold)
		key        fleet.Key
		succeeded  string
		generation int64
	}{
		"over a revision that runs": {
			story:     func(f fold) { f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentRefused, no(5)) },
			key:       web,
			succeeded: "1", generation: 5,
		},
		"from its first day": {
			story:     func(f fold) { f.say(eventlog.DeploymentSubject("shop", "db"), eventlog.DeploymentRefused, no(1)) },
			key:       fleet.Key{Namespace: "shop", Name: "db"},
			succeeded: "0", generation: 1,
		},
		"in place of one that had ended": {
			story: func(f fold) {
				f.say(eventlog.DesiredSubject("pi-01", "web"), eventlog.DesiredWithdrawn, nil)
				f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: decide.ReasonCRDeleted})
				f.say(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentRefused, no(1))
			},
			key:       web,
			succeeded: "0", generation: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := testView(t)
			tt.story(fold{t, v})
			c := NewCatalog(v, time.Now())
			if !c.present(tt.key) {
				t.Fatal("not listed")
			}
			it := c.deployment(tt.key)
			if it.Cells[0] != "False" || it.Cells[1] != v1alpha1.ReasonTooLarge || it.Cells[3] != tt.succeeded || it.Cells[7] != "the score is too large" {
				t.Errorf("cells %q", it.Cells)
			}
			if o := it.Object.(v1alpha1.Deployment); o.Generation != tt.generation || o.Status.ObservedGeneration != tt.generation {
				t.Errorf("generation %d, observed %d; want %d", o.Generation, o.Status.ObservedGeneration, tt.generation)
			}
		})
	}
}

func TestAWatchFollowsDisruptionBudgets(t *testing.T) {
	t.Parallel()
	f := fold{t, fleet.New()}
	c := NewCatalog(f.v, f.v.Clock)
	two := eventlog.Amount{N: 2}
	binds := func() (limit string) {
		c.Changed(nil, nil)
		if b, ok := c.state.Budget("racks"); ok {
			limit = b.Recorded.MaxUnavailable.String()
		}
		return limit
	}
	if got := binds(); got != "" {
		t.Errorf("before there is a budget, one binds: %s", got)
	}
	budget := eventlog.Budget{Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, MaxUnavailable: &eventlog.Amount{N: 1}}
	f.say(eventlog.BudgetSubject("racks"), eventlog.BudgetApplied, budget)
	if got := binds(); got != "1" {
		t.Errorf("a budget of 1 was applied, and what binds is %q", got)
	}
	budget.MaxUnavailable = &two
	f.say(eventlog.BudgetSubject("racks"), eventlog.BudgetApplied, budget)
	if got := binds(); got != "2" {
		t.Errorf("it was raised to 2, and what binds is %q", got)
	}
	f.say(eventlog.BudgetSubject("racks"), eventlog.BudgetDeleted, eventlog.BudgetEnd{})
	if got := binds(); got != "" {
		t.Errorf("it was deleted, and still binds: %s", got)
	}
}
