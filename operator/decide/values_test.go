package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// withEnv gives the service a variable VALUE.
func withEnv(text string) crOption {
	return func(d *v1alpha1.Deployment) {
		d.Spec.Score.Data.Services[0].Env = map[string]v1alpha1.EnvValue{"VALUE": v1alpha1.EnvValue(text)}
	}
}

// zone sets a device's label zone, or takes it away.
func (s *show) zone(id, value, owner string) {
	owned := map[string]eventlog.OwnedLabel{
		v1alpha1.LabelDevice: {Value: id, Owner: "fleet-operator"}, "site": {Value: "lab", Owner: eventlog.OwnerDevice},
	}
	if value != "" {
		owned["zone"] = eventlog.OwnedLabel{Value: value, Owner: owner}
	}
	s.SetDevice(id, owned)
	s.settle(decide.OfDevice(id))
}

// values are what the devices have: the variable VALUE, "-" where there is none, and
// nothing where the Deployment is not assigned.
func (s *show) values() string {
	var all []string
	for _, id := range s.ids {
		p := s.View().Devices[id].Pair("web")
		if p == nil || !p.Assigned() {
			all = append(all, "nothing")
			continue
		}
		data := s.log[p.Desired.Sequence-1].Data
		got, err := score.Decode(data)
		if err != nil {
			s.Fatalf("a device refuses what it is given: %v", err)
		}
		if p.Desired.Hash != eventlog.Hash(data) {
			s.Fatalf("%s has the hash %s, and its value has %s", id, p.Desired.Hash, eventlog.Hash(data))
		}
		value, ok := got.Services[0].Env["VALUE"]
		if !ok {
			value = "-"
		}
		all = append(all, value)
	}
	return strings.Join(all, " ")
}

func (s *show) wants(values string) {
	s.Helper()
	if diff := cmp.Diff(values, s.values()); diff != "" {
		s.Fatalf("what the devices have (-want +got):\n%s", diff)
	}
}

// disturbed counts the devices that are unavailable through the Deployment.
func (s *show) disturbed() (n int) {
	for _, id := range s.ids {
		if p := s.View().Devices[id].Pair("web"); p != nil && p.Disturbed() {
			n++
		}
	}
	return n
}

const zones = "$(device.labels.zone)"

func TestEachDeviceIsGivenItsOwnValues(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	for i, id := range s.ids[:2] {
		s.zone(id, []string{"a", "b"}[i], "ada")
	}
	s.apply("app:1", `{}`, withEnv("$(device.id) in "+zones))
	s.pass(time.Hour)
	s.wants("pi-000 in a pi-001 in b nothing")
	p := s.Progress(key("a/web"))
	if p.Standings[rollout.Healthy] != 2 || p.Standings[rollout.Skipped] != 1 {
		t.Errorf("standings are %v, want two healthy devices and a skipped one", p.Standings)
	}
	want := []decide.Failure{{
		Reason: v1alpha1.ReasonTemplateValueMissing, Devices: 1, Examples: []string{"pi-002"},
		Message: "pi-002: it has no label zone, which env names: kubectl label device pi-002 zone=VALUE",
	}}
	if diff := cmp.Diff(want, p.Skips); diff != "" {
		t.Errorf("skips (-want +got):\n%s", diff)
	}
	d := s.View().Deployments[key("a/web")]
	w := rollout.Why(s.View(), d, s.View().Devices["pi-002"], s.View().Clock)
	if w.Kind != rollout.WaitValue || w.Name != "zone" || !strings.Contains(w.Message, "kubectl label device pi-002 zone=VALUE") {
		t.Errorf("it waits for %+v", w)
	}
	s.zone("pi-002", "c", eventlog.OwnerDevice)
	s.wants("pi-000 in a pi-001 in b pi-002 in c")
	if b := s.View().Devices["pi-002"].Pair("web").Desired; b.Template == nil || *b.Template != d.Spec.ScoreHash || b.Hash == *b.Template {
		t.Errorf("it is assigned %+v, and the spec's score is %s", b, d.Spec.ScoreHash)
	}
}

// A label that changes after the rollout is a change for its device alone, outside of
// batches and inside the budget.
func TestAChangeOfLabelsIsReleasedUnderMaxUnavailable(t *testing.T) {
	t.Parallel()
	s := newShow(t, 6)
	for _, id := range s.ids {
		s.zone(id, "a", "ada")
	}
	s.apply("app:1", `{"maxUnavailable":2}`, withEnv(zones))
	s.pass(time.Hour)
	if s.run().Phase != fleet.PhaseCompleted {
		t.Fatalf("the rollout is %s", s.run().Phase)
	}
	from := len(s.log)
	s.nature["app:1"] = ""
	for _, id := range s.ids[:5] {
		s.zone(id, "b", "ada")
	}
	if n := strings.Count(s.values(), "b"); n != 2 || s.disturbed() != 2 {
		t.Fatalf("%d devices are given other values, and %d are unavailable; want 2: %s", n, s.disturbed(), s.values())
	}
	if got := s.Progress(key("a/web")).Standings; got[rollout.StandsWaiting] != 3 || got[rollout.Updating] != 2 {
		t.Errorf("standings are %v", got)
	}
	if s.Placed(key("a/web")) {
		t.Error("it is placed, and three devices wait for their values")
	}
	s.nature["app:1"] = eventlog.PhaseRunning
	most := 0
	s.appended = func() { most = max(most, s.disturbed()) }
	s.pass(time.Minute)
	s.wants("b b b b b a")
	if most > 2 {
		t.Errorf("%d devices were unavailable at a time", most)
	}
	for _, id := range s.ids[:5] {
		dev := s.View().Devices[id]
		if cause := s.log[dev.Pair("web").Desired.Sequence-1].CausationID; cause != dev.LabelsID {
			t.Errorf("%s was given its value because of %s, and its labels came by %s", id, cause, dev.LabelsID)
		}
	}
	if said := s.rollouts(from); len(said) > 0 {
		t.Errorf("a change of labels began a rollout: %v", said)
	}
}

func TestWhatADeviceRunsStaysWhereItsValueIsMissing(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	for _, id := range s.ids {
		s.zone(id, "a", "ada")
	}
	s.apply("app:1", `{}`, withEnv(zones))
	s.pass(time.Hour)
	s.zone("pi-001", "", "")
	s.pass(time.Minute)
	s.wants("a a")
	if got := s.Progress(key("a/web")).Standings; got[rollout.Skipped] != 1 {
		t.Errorf("standings are %v, want a skipped device", got)
	}
	s.zone("pi-001", "a", "ada") // what it has is right again, and nothing is done about it
	from := len(s.log)
	s.pass(time.Minute)
	if got := s.Progress(key("a/web")).Standings; got[rollout.Healthy] != 2 || len(s.log) != from {
		t.Errorf("standings are %v, and %v was said", got, told(s.log[from:]))
	}
}

func TestALabelThatADeviceReportsChoosesNoImage(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	s.nature["app:blue"] = eventlog.PhaseRunning
	s.zone("pi-000", "blue", "ada")
	s.zone("pi-001", "blue", eventlog.OwnerDevice)
	s.apply("app:"+zones, `{}`)
	s.pass(time.Hour)
	if got := s.given("app:blue"); got != 1 {
		t.Errorf("%d devices have the image, want that one whose label a person set", got)
	}
	skips := s.Progress(key("a/web")).Skips
	if len(skips) != 1 || skips[0].Reason != v1alpha1.ReasonTemplateValueMissing || !strings.Contains(skips[0].Message, "reports label zone itself") {
		t.Errorf("skips are %+v", skips)
	}
	s.zone("pi-001", "BLUE:x/", "ada") // nothing that Kubernetes would store
	s.pass(time.Minute)
	if skips := s.Progress(key("a/web")).Skips; len(skips) != 1 || skips[0].Reason != v1alpha1.ReasonTemplateValueInvalid {
		t.Errorf("skips are %+v", skips)
	}
}

// A value that is right already is not given again: neither where what was filled in
// becomes literal, nor the other way round.
func TestTheSameBytesUpsetNothing(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	for _, id := range s.ids {
		s.zone(id, "a", "ada")
	}
	s.apply("app:1", `{}`, withEnv(zones))
	s.pass(time.Hour)
	for _, text := range []string{"a", zones, "a"} {
		s.apply("app:1", `{}`, withEnv(text))
		s.pass(time.Hour)
		if s.run().Phase != fleet.PhaseCompleted || s.run().Target.Revision != uint64(s.gen) {
			t.Fatalf("the rollout of %q is %s: %v", text, s.run().Phase, s.rollouts(0))
		}
		for _, id := range s.ids {
			p := s.View().Devices[id].Pair("web")
			if p.Upset || p.Desired.Revision != uint64(s.gen) || !p.Has(&s.run().Target) {
				t.Errorf("%q on %s: upset %v, desired %+v", text, id, p.Upset, p.Desired)
			}
		}
	}
}

func TestARollbackAndARestartFillInToo(t *testing.T) {
	t.Parallel()
	s := newShow(t, 4)
	for i, id := range s.ids {
		s.zone(id, []string{"a", "b", "c", "d"}[i], "ada")
	}
	s.apply("app:1", `{}`, withEnv(zones))
	s.pass(time.Hour)
	s.nature["app:2"] = eventlog.PhaseFailed
	s.apply("app:2", `{"onFailure":"Rollback"}`, withEnv("new "+zones))
	s.pass(time.Second)
	s.zone("pi-003", "e", "ada") // waits neither for the batch nor for the rollback
	for range 20 {
		s.pass(time.Minute)
	}
	if s.run().Phase != fleet.PhaseRolledBack {
		t.Fatalf("the rollout is %s", s.run().Phase)
	}
	s.wants("a b c e")
	if got := s.Progress(key("a/web")).Standings; got[rollout.Healthy] != 4 {
		t.Errorf("standings are %v after the rollback", got)
	}
	run := s.run()
	s.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{
		Verb: eventlog.RequestRestart, Revision: s.View().Deployments[key("a/web")].Spec.Revision, Run: run.ID, Batch: run.Batch,
	})
	s.settle(decide.OfDeployment(key("a/web")))
	for range 40 {
		s.pass(time.Minute)
	}
	if s.run().Kind != eventlog.RunRestart || s.run().Phase != fleet.PhaseCompleted {
		t.Fatalf("the %s is %s", s.run().Kind, s.run().Phase)
	}
	s.wants("a b c e")
	for _, id := range s.ids {
		got, err := score.Decode(s.log[s.View().Devices[id].Pair("web").Desired.Sequence-1].Data)
		if err != nil || got.Services[0].Labels[decide.LabelRestart] != "1" {
			t.Errorf("%s was not restarted: %v, %v", id, got.Services[0].Labels, err)
		}
	}
}

// What a device is to get follows from labels that the log has: an assignment can be
// explained by what was said before it.
func TestTheLogLearnsTheLabelsBeforeTheirValuesAreFilledIn(t *testing.T) {
	t.Parallel()
	s := newShow(t, 1)
	s.zone("pi-000", "a", "ada")
	s.apply("app:1", `{}`, withEnv(zones))
	s.pass(time.Hour)
	owned := map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}, "zone": {Value: "b", Owner: "ada"}}
	s.SetDevice("pi-000", owned)
	if due, _ := decide.Release(s.State, now, decide.MaxGrants); len(due) > 0 {
		t.Errorf("before the log has the labels it gives %v", told(due))
	}
	from := len(s.log)
	s.settle(decide.OfDevice("pi-000"))
	want := []string{"device.relabeled device.pi-000", "desired.assigned desired.pi-000.web"}
	if diff := cmp.Diff(want, told(s.log[from:])); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	s.wants("b")
}

// What an operator that begins makes of the log is what the one before it had.
func TestALeaderThatBeginsGivesNothingAgain(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	for _, id := range s.ids {
		s.zone(id, "a", "ada")
	}
	s.apply("app:1", `{}`, withEnv(zones))
	s.pass(time.Hour)
	b, err := fleet.Encode(s.View())
	if err != nil {
		t.Fatal(err)
	}
	v, err := fleet.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	s.SetView(v)
	from := len(s.log)
	s.settle(decide.OfDeployment(key("a/web")), decide.OfDevice("pi-000"))
	if len(s.log) > from {
		t.Errorf("another leader says %v", told(s.log[from:]))
	}
}

func TestTheBoundsOfAScoreAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	if score.MaxBytes != v1alpha1.MaxScoreBytes {
		t.Errorf("a score may weigh %d bytes, and by the API %d", score.MaxBytes, v1alpha1.MaxScoreBytes)
	}
}

// A device for which nothing can be filled in shows nothing as a canary.
func TestTheFirstBatchIsOfDevicesThatHaveTheLabels(t *testing.T) {
	t.Parallel()
	s := newShow(t, 10)
	s.apply("app:1", `{}`)
	s.pass(time.Hour)
	s.zone("pi-007", "a", "ada")
	s.apply("app:1", `{"batches":[{"size":1,"soak":"1m"},{"soak":"1m"}]}`, withEnv(zones))
	s.pass(time.Second)
	s.wants("- - - - - - - a - -")
	for range 5 {
		s.pass(time.Minute)
	}
	if s.run().Phase != fleet.PhaseCompleted || s.Progress(key("a/web")).Standings[rollout.Skipped] != 9 {
		t.Errorf("the rollout is %s, standings %v", s.run().Phase, s.Progress(key("a/web")).Standings)
	}
}

// A first revision that nobody was given shows nothing, so it is not through: else it would
// be what a rollback goes back to.
func TestARolloutThatNobodyHasTheLabelsForWaits(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	s.apply("app:1", `{"batches":[{"soak":"1m"}]}`, withEnv(zones))
	for range 60 {
		s.pass(time.Minute)
	}
	if diff := cmp.Diff([]string{"started Applied", "stalled 1 TemplateValueMissing"}, s.rollouts(0)); diff != "" {
		t.Errorf("the rollout says (-want +got):\n%s", diff)
	}
	d := s.View().Deployments[key("a/web")]
	if w := rollout.Look(s.View(), d, s.View().Clock).OpenBatch(); w.Kind != rollout.WaitValue || len(w.Devices) != 3 {
		t.Errorf("the batch waits for %+v", w)
	}
	s.zone("pi-001", "a", "ada")
	for range 5 {
		s.pass(time.Minute)
	}
	s.wants("nothing a nothing")
	if s.run().Phase != fleet.PhaseCompleted {
		t.Errorf("one device proved it, and the rollout is %s", s.run().Phase)
	}
}
