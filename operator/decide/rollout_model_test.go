package decide_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// The engine counts by what changes, and the model counts anew each time: at each moment
// of whatever world both give the same events, and their numbers are the same.
func TestTheEngineSaysWhatTheModelSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		tw := newTwin(rt)
		rollouttest.Live(tw.World)
	})
}

// twin is the engine beside the model's world: one log of real events, of which each
// has the sequence of the model's.
type twin struct {
	*rollouttest.World
	engine *decide.State
	log    []eventlog.Event

	specs  map[fleet.Key]decide.Spec
	gone   map[fleet.Key]bool // the CR is to be removed once it is withdrawn everywhere
	hashes map[string]string  // of contents with their restarts
	values map[int]string     // hash by the sequence of the assignment
	quiet  int                // so many events there were when nothing was due
	wake   time.Time          // when the engine would have looked again
	drafts map[string]eventlog.Draft

	changed func() // if set: hears that a CR changed, before the log does
}

func newTwin(t *rapid.T) *twin {
	tw := &twin{
		World: rollouttest.NewWorld(t), engine: decide.NewState(fleet.New()),
		specs: map[fleet.Key]decide.Spec{}, gone: map[fleet.Key]bool{}, hashes: map[string]string{}, values: map[int]string{}, drafts: map[string]eventlog.Draft{},
	}
	tw.Said, tw.Due, tw.Elected = tw.said, tw.due, tw.elected
	return tw
}

func at(seconds int64) time.Time { return now.Add(time.Duration(seconds) * time.Second) }

// tick has the engine read the time: it must be that of the world.
func (tw *twin) tick() {
	tw.engine.Tick(at(tw.Machine))
	if got := tw.engine.Clock(); !got.Equal(at(tw.Now)) {
		tw.Fatalf("the engine's clock shows %s, the model's %s", got, at(tw.Now))
	}
}

func (tw *twin) append(e rollouttest.Event, d eventlog.Draft) {
	m := d.Message("test", fmt.Sprintf("ID-%d", e.Sequence))
	got, err := eventlog.Decode(m.Subject, m.Header, m.Data, uint64(e.Sequence), at(e.At))
	if err == nil {
		err = eventlog.Check(got)
	}
	if err != nil {
		tw.Fatalf("event %d, %s: %v", e.Sequence, e.Type, err)
	}
	tw.log = append(tw.log, got)
	fleet.Apply(tw.engine.View(), got, nil)
	tw.engine.Tick(at(tw.Machine))
}

// elected: another leader folds the log, and begins to listen.
func (tw *twin) elected() {
	v := fleet.New()
	for _, e := range tw.log {
		fleet.Apply(v, e, nil)
	}
	tw.engine.SetView(v)
	tw.tick()
	tw.engine.Listen(rollouttest.OfflineTimeout * time.Second)
	tw.engine.Restored(uint64(tw.State.Restored))
}

// said puts an event of the model's log into the engine's.
func (tw *twin) said(e rollouttest.Event) {
	if d, ok := tw.drafts[sentence(e)]; ok && e.Decided > 0 && decided(e.Type) {
		delete(tw.drafts, sentence(e))
		if e.Type == eventlog.DesiredAssigned {
			tw.values[e.Sequence] = eventlog.Hash(d.Data)
		}
		tw.append(e, d)
		return
	}
	tw.append(e, tw.input(e))
}

func decided(t eventlog.Type) bool {
	return t.Family() == eventlog.FamilyDesired || strings.HasPrefix(string(t), "rollout.")
}

// input makes the real event of what people and devices do.
func (tw *twin) input(e rollouttest.Event) eventlog.Draft {
	key := key(e.Deployment)
	switch e.Type {
	case eventlog.LeaderElected:
		return tw.draft(eventlog.LeaderSubject, e.Type, eventlog.Leader{Identity: "test"})
	case rollouttest.LogRestored:
		tw.engine.Restored(uint64(e.Sequence))
		return tw.draft(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "test"})
	case rollouttest.DeviceGone:
		tw.engine.RemoveDevice(e.Device)
		return tw.draft(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "test"})
	case rollouttest.Annotated:
		a, spec := e.Annotation, tw.specs[key]
		spec.Promotion = &decide.Promotion{Revision: uint64(a.Revision), Run: uint64(a.Run), Batch: a.Batch, By: a.By}
		spec.AuthoredBy = a.Author
		tw.specs[key] = spec
		tw.engine.SetDeployment(spec)
		return tw.draft(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "test"})
	case eventlog.DeviceRelabeled:
		owned := map[string]eventlog.OwnedLabel{}
		for k, v := range e.Labels {
			owned[k] = eventlog.OwnedLabel{Value: v, Owner: eventlog.OwnerDevice}
			if k == "zone" && !strings.HasPrefix(v, rollouttest.Owned) {
				owned[k] = eventlog.OwnedLabel{Value: v, Owner: "ada"}
			}
		}
		tw.engine.SetDevice(e.Device, owned)
		return tw.draft(eventlog.DeviceSubject(e.Device), e.Type, eventlog.Labels{Labels: owned})
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		return tw.draft(eventlog.DeviceSubject(e.Device), e.Type, eventlog.Presence{Reason: "test"})
	case eventlog.StateReported:
		st := eventlog.DeploymentState{
			DeviceID: e.Device, Deployment: key.Name, Phase: e.Phase, LastEventAt: now, ScoreHash: tw.values[e.Assignment], Assignment: uint64(e.Assignment),
		}
		if e.Older {
			st.Assignment, st.Revision = 0, uint64(e.Target.Revision)
		}
		return tw.draft(eventlog.StateSubject(e.Device, key.Name), e.Type, st)
	case eventlog.StateCleared:
		return eventlog.Draft{Subject: eventlog.StateSubject(e.Device, key.Name), Type: e.Type, Time: now}
	case eventlog.RequestMade:
		q := e.Request
		return tw.draft(eventlog.RequestSubject("ada", key.Namespace, key.Name), e.Type, eventlog.Request{
			Verb: q.Verb, Revision: uint64(q.Revision), Run: uint64(q.Run), Batch: q.Batch, ToRevision: uint64(q.ToRevision), Full: q.Full,
		})
	case eventlog.BudgetApplied:
		var by []string
		if e.Limit.GroupBy != "" {
			by = []string{e.Limit.GroupBy}
		}
		b := eventlog.Budget{
			Selector: eventlog.Selector{MatchLabels: e.Limit.Selector}, MaxUnavailable: e.Limit.MaxUnavailable, MinAvailable: e.Limit.MinAvailable, GroupBy: by,
		}
		tw.engine.SetBudget(decide.BudgetSpec{Name: e.Budget, Selector: labels.Set(e.Limit.Selector).AsSelector(), Recorded: b})
		return tw.draft(eventlog.BudgetSubject(e.Budget), e.Type, b)
	case eventlog.BudgetDeleted:
		tw.engine.RemoveBudget(e.Budget, true)
		return tw.draft(eventlog.BudgetSubject(e.Budget), e.Type, eventlog.BudgetEnd{})
	case eventlog.RolloutGateMeasured:
		return tw.measured(key, e)
	case eventlog.DeploymentApplied:
		tw.apply(key, e.Spec)
	case eventlog.DeploymentOrphaned:
		tw.engine.RemoveDeployment(key)
	case eventlog.DeploymentAdopted:
		tw.engine.SetDeployment(tw.specs[key])
	case eventlog.DeploymentDeleted:
		spec := tw.specs[key]
		spec.Deleting = true
		tw.engine.SetDeployment(spec)
		tw.gone[key] = true
	default:
		tw.Fatalf("event %d: the engine did not decide %s", e.Sequence, sentence(e))
	}
	return tw.lifecycle(key, e)
}

// measured has the engine take an answer about a gate that it asks.
func (tw *twin) measured(key fleet.Key, e rollouttest.Event) eventlog.Draft {
	tw.tick()
	for _, q := range tw.engine.Questions() {
		if q.Key != key || q.Gate != e.Gate.Name {
			continue
		}
		if q.At.After(at(tw.Now)) {
			tw.Fatalf("event %d: the engine asks gate %s of %s at %s only", e.Sequence, q.Gate, key, q.At)
		}
		a := decide.Answer{Question: q, Value: map[string]float64{eventlog.GatePass: 1, eventlog.GateFail: 2}[e.Verdict]}
		if e.Verdict == eventlog.GateNone {
			a.Error = "there is no sample"
		}
		due, err := decide.Measured(tw.engine, a, now)
		if err != nil || len(due) != 1 {
			tw.Fatalf("event %d: of an answer about gate %s of %s follows %v (error %v)", e.Sequence, q.Gate, key, told(due), err)
		}
		return due[0]
	}
	tw.Fatalf("event %d: the engine does not ask gate %s of %s", e.Sequence, e.Gate.Name, key)
	return eventlog.Draft{}
}

// lifecycle asks the engine for the event that follows from a change of the CR.
func (tw *twin) lifecycle(key fleet.Key, e rollouttest.Event) eventlog.Draft {
	if tw.changed != nil {
		tw.changed()
	}
	due, err := decide.Decide(tw.engine, decide.OfDeployment(key), now)
	if err != nil || len(due) != 1 || due[0].Type != e.Type {
		tw.Fatalf("the CR changed (%s), and the engine says %v (error %v)", e.Type, told(due), err)
	}
	return due[0]
}

func (tw *twin) draft(subject string, t eventlog.Type, payload any) eventlog.Draft {
	d, err := eventlog.NewDraft(subject, t, now, payload)
	if err != nil {
		tw.Fatalf("%v", err)
	}
	return d
}

// apply makes the CR of a spec.
func (tw *twin) apply(key fleet.Key, sp rollouttest.Spec) {
	was := tw.specs[key]
	if tw.gone[key] {
		tw.engine.RemoveDeployment(key)
		delete(tw.gone, key)
		was.UID += "+"
	}
	spec := decide.SpecOf(crOf(key, sp))
	if spec.Problem != nil {
		tw.Fatalf("%s: %v", sp.Content, spec.Problem)
	}
	spec.UID, spec.Generation, spec.Promotion, spec.AuthoredBy = was.UID, was.Generation+1, was.Promotion, was.AuthoredBy
	duration := func(seconds int64) *eventlog.Duration {
		d := eventlog.Duration(time.Duration(seconds) * time.Second)
		return &d
	}
	set := eventlog.RolloutSettings{
		Strategy: sp.Strategy, SuccessThreshold: &eventlog.Amount{N: sp.Threshold, Percent: true}, MaxUnavailable: &sp.MaxUnavailable,
		ProgressDeadline: duration(sp.Deadline), OfflineDevices: sp.OfflineDevices, OnFailure: sp.OnFailure, Paused: sp.Paused,
	}
	for _, on := range sp.DependsOn {
		_, name, _ := strings.Cut(on, "/")
		set.DependsOn = append(set.DependsOn, name)
	}
	if w := sp.Window; w.Every > 0 {
		set.Windows = []eventlog.Window{{Schedule: fmt.Sprintf("*/%d * * * *", w.Every/60), Duration: *duration(w.For)}}
	}
	if r := sp.Rate; r.Devices > 0 {
		set.Rate = &eventlog.Rate{Devices: r.Devices, Per: duration(r.Per)}
		if r.After > 0 {
			set.Rate.Increase = &eventlog.RateIncrease{AfterSucceeded: r.After, Percent: r.Percent, MaxDevices: r.Max}
		}
	}
	for i, b := range sp.Batches {
		bs := eventlog.BatchSettings{Soak: duration(b.Soak), Approval: eventlog.ApprovalAutomatic, FourEyes: b.FourEyes}
		for _, g := range b.Gates {
			bs.Gates = append(bs.Gates, eventlog.Gate{Name: g.Name, Prometheus: &eventlog.PrometheusGate{Server: "main", Query: "up", Max: "1", For: duration(g.For)}})
		}
		if b.Manual {
			bs.Approval = eventlog.ApprovalManual
		}
		switch {
		case len(b.Pin) > 0:
			bs.Selector = &eventlog.Selector{MatchLabels: b.Pin}
		case i < len(sp.Batches)-1:
			bs.Size = &b.Size
		}
		set.Batches = append(set.Batches, bs)
	}
	var err error
	if spec.Rollout, err = json.Marshal(set); err != nil {
		tw.Fatalf("%v", err)
	}
	tw.specs[key] = spec
	tw.engine.SetDeployment(spec)
}

// crOf is the CR of a content: what is after its '@' is filled in, in an image after '!'
// and in a variable without that.
func crOf(key fleet.Key, sp rollouttest.Spec) *v1alpha1.Deployment {
	base, label, filled := strings.Cut(string(sp.Content), "@")
	image, chosen := "app:"+base, strings.HasPrefix(label, "!")
	place := "$(device.labels." + strings.TrimPrefix(label, "!") + ")"
	if chosen {
		image += "-" + place
	}
	d := cr(key.Namespace, key.Name, image, sp.Selector)
	if filled && !chosen {
		d.Spec.Score.Data.Services[0].Env = map[string]v1alpha1.EnvValue{"VALUE": v1alpha1.EnvValue(place)}
	}
	return d
}

// due asks both, compares, and gives the model's events in the engine's order.
func (tw *twin) due() []rollouttest.Event {
	tw.tick()
	if due := tw.deviceTurn(); len(due) > 0 {
		return due
	}
	want := tw.State.Decide(tw.Now, tw.Listening)
	got := tw.ask()
	clear(tw.drafts)
	var gotSaid, wantSaid []string
	byName := map[string]rollouttest.Event{}
	for _, e := range want {
		wantSaid = append(wantSaid, sentence(e))
		byName[sentence(e)] = e
	}
	var due []rollouttest.Event
	for _, d := range got {
		s := tw.sentenceOf(d)
		gotSaid = append(gotSaid, s)
		if e, ok := byName[s]; ok && strings.HasPrefix(string(d.Type), "rollout.") {
			tw.tells(d, e)
		}
		tw.drafts[s] = d
		due = append(due, byName[s])
	}
	slices.Sort(wantSaid)
	slices.Sort(gotSaid)
	if diff := cmp.Diff(wantSaid, gotSaid); diff != "" {
		tw.explain()
		tw.Fatalf("after event %d, at %d, events (-model +engine):\n%s", len(tw.log), tw.Now, diff)
	}
	switch {
	case len(want) == 0:
		tw.count()
		tw.asks()
		if more, err := decide.Due(tw.engine, now); err != nil || len(more) > 0 {
			tw.Fatalf("after event %d nothing is due, and by the time it is %v (error %v)", len(tw.log), told(more), err)
		}
		tw.quiet, tw.wake = len(tw.log), tw.engine.Wake()
		if !tw.wake.IsZero() && !tw.wake.After(at(tw.Now)) {
			tw.Fatalf("after event %d nothing is due, and the engine would look again at once, for ever", len(tw.log))
		}
	case tw.quiet == len(tw.log) && (tw.wake.IsZero() || tw.wake.After(at(tw.Now))):
		tw.Fatalf("after event %d time alone makes %v due at %s, and the engine would wake up at %s", len(tw.log), wantSaid, at(tw.Now), tw.wake)
	}
	return due
}

// asks: both ask the same gates.
func (tw *twin) asks() {
	want, got := map[string]bool{}, map[string]bool{}
	for _, k := range rollouttest.Keys {
		for _, g := range tw.State.Asks(k, tw.Now, tw.Listening) {
			want[k+" "+g.Name] = true
		}
	}
	for _, q := range tw.engine.Questions() {
		got[q.Key.String()+" "+q.Gate] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tw.Fatalf("after event %d, at %d, gates that are asked (-model +engine):\n%s", len(tw.log), tw.Now, diff)
	}
}

// deviceTurn asks about a single device, as the operator does when its label or its
// report comes: it says nothing that the turns of its Deployments would not say, too.
func (tw *twin) deviceTurn() (due []rollouttest.Event) {
	id := rapid.SampledFrom(append(slices.Sorted(maps.Keys(tw.State.Devices)), "")).Draw(tw.T, "turn")
	if id == "" || tw.Crashes {
		return nil
	}
	got, err := decide.Decide(tw.engine, decide.OfDevice(id), now)
	if err != nil {
		tw.Fatalf("decide %s: %v", id, err)
	}
	clear(tw.drafts)
	for _, d := range got {
		s := tw.sentenceOf(d)
		tw.drafts[s] = d
		is := func(e rollouttest.Event) bool { return sentence(e) == s }
		placed := tw.State.Placed(id)
		i := slices.IndexFunc(placed, is)
		if i < 0 {
			tw.explain()
			tw.Fatalf("after event %d, the turn of %s says %s, and what it is to get is %+v", len(tw.log), id, s, placed)
		}
		due = append(due, placed[i])
	}
	return due
}

// facts are what an event of a rollout tells people beside what decides.
type facts struct {
	Run, Revision, From   uint64
	Kind, Actor           string
	Devices               int
	Given, Proven, Bad    int
	Waiting, Examples     int
	Correlation, Strategy string
}

// tells holds what an event tells people against the model's state.
func (tw *twin) tells(d eventlog.Draft, e rollouttest.Event) {
	p, err := eventlog.Payload[eventlog.Rollout](eventlog.Event{Type: d.Type, Version: 2, Data: d.Data})
	if err != nil {
		tw.Fatalf("%s: %v", d.Type, err)
	}
	m := tw.State.Deployments[e.Deployment]
	if m.Lifecycle != eventlog.DeploymentApplied {
		return
	}
	_, matched := tw.State.Standings(m, tw.Now)
	strategy := tw.engine.View().Deployments[key(e.Deployment)].Run.Strategy
	want := facts{Run: uint64(m.Run.ID), Revision: uint64(m.Run.Target.Revision), Kind: m.Run.Kind, Devices: matched, Strategy: strategy}
	if want.Revision == 0 {
		want.Revision = uint64(m.Spec.Revision)
	}
	if e.Type == eventlog.RolloutStarted {
		want = facts{Revision: uint64(e.Target.Revision), Kind: e.Kind, Devices: want.Devices, Strategy: m.Spec.Strategy}
		if e.Kind == eventlog.RunRollback {
			want.From = uint64(m.Run.Target.Revision)
		}
	}
	switch {
	case e.Answers > 0:
		want.Actor = "ada"
	case e.Type == eventlog.RolloutPromoted:
		want.Actor = m.Annotated.By
	}
	got := facts{Run: p.Run, Revision: p.Revision, From: p.From, Kind: p.Kind, Actor: d.Actor, Devices: p.Devices, Strategy: p.Strategy, Correlation: d.CorrelationID}
	want.Correlation = fmt.Sprintf("%s@%d", e.Deployment, want.Revision)
	if n := p.Counts; n != nil && m.Run.Kind != eventlog.RunRollback {
		v := tw.State.Judge(m, tw.Now)
		want.Given, want.Proven, want.Bad, want.Waiting = v.Given, v.Proven, v.Bad, v.Waiting
		got.Given, got.Proven, got.Bad, got.Waiting, got.Examples = n.Given, n.Proven, n.Bad, n.Waiting, len(p.Examples)
		if m.Run.Failed { // batch_failed had them; until the pause is in the log nobody is to be given anything
			want.Waiting = got.Waiting
		}
		switch e.Type {
		case eventlog.RolloutPaused, eventlog.RolloutBatchFailed:
			want.Examples = min(v.Bad, 10)
		case eventlog.RolloutStalled:
			if want.Examples = min(v.Waiting+v.Missing, 10); e.Reason == "TemplateValueMissing" {
				want.Examples = min(v.Unfilled, 10)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tw.explain()
		tw.Fatalf("after event %d, %s tells (-model +engine):\n%s", len(tw.log), sentence(e), diff)
	}
	last := uint64(0)
	for _, x := range p.Examples {
		order := rollouttest.Order(e.Deployment, x.Device)
		if x.Reason == "" || order < last {
			tw.Fatalf("after event %d, %s says nothing of %s, or names it late: %+v", len(tw.log), sentence(e), x.Device, p.Examples)
		}
		last = order
	}
}

func (tw *twin) ask() []eventlog.Draft {
	due, _ := decide.Release(tw.engine, now, decide.MaxGrants)
	for _, d := range tw.State.ByApplied() {
		if len(due) > 0 {
			break
		}
		var err error
		if due, err = decide.Decide(tw.engine, decide.OfDeployment(key(d.Key)), now); err != nil {
			tw.Fatalf("decide %s: %v", d.Key, err)
		}
	}
	return due
}

// explain logs what both know of the Deployments, and the last events.
func (tw *twin) explain() {
	for _, d := range tw.State.ByApplied() {
		log := tw.engine.View().Deployments[key(d.Key)]
		run := log.Run
		run.Target.Score = nil
		tw.Logf("%s: model %+v\n  refused %q stable %+v before %+v hold %v\n  spec %+v\n  verdict %+v\n  engine %+v\n  counts %+v", d.Key, d.Run, d.Refused, d.Stable, d.Before, d.Hold, d.Spec, tw.State.Judge(d, tw.Now), run, log.Counts)
	}
	for name, b := range tw.State.Budgets {
		tw.Logf("budget %s: %+v of %v by %s", name, b.Selector, []any{b.MaxUnavailable, b.MinAvailable}, b.GroupBy)
	}
	for _, id := range slices.Sorted(maps.Keys(tw.State.Devices)) {
		dev := tw.State.Devices[id]
		s := fmt.Sprintf("%s online %v, by the engine up %v, %v", id, dev.Online, !tw.engine.View().Devices[id].Down(), dev.Labels)
		for name, p := range dev.Pairs {
			s += fmt.Sprintf("\n   %s order %x: %+v", name, rollouttest.Order(p.Deployment, id)>>48, *p)
		}
		tw.Logf("%s", s)
	}
	for _, e := range tw.Log[max(0, len(tw.Log)-25):] {
		tw.Logf("event %d at %d: %s %s %s%s", e.Sequence, e.At, e.Row, sentence(e), e.Phase, e.Request.Verb)
	}
}

// count compares the numbers of the status.
func (tw *twin) count() {
	for _, d := range tw.State.ByApplied() {
		p := tw.engine.Progress(key(d.Key))
		if p == nil {
			continue
		}
		counts, matched := tw.State.Standings(d, tw.Now)
		got := map[string]int{}
		for st, n := range p.Standings {
			if n > 0 {
				got[rollout.Standing(st).String()] = n
			}
		}
		if diff := cmp.Diff(counts, got); diff != "" || p.Matched != matched {
			tw.explain()
			tw.Fatalf("%s matches %d devices, by the engine %d; standings (-model +engine):\n%s", d.Key, matched, p.Matched, diff)
		}
	}
}

// sentence is what of an event the engine must say, too.
func sentence(e rollouttest.Event) string {
	s := fmt.Sprint(e.Type, " ", e.Deployment)
	switch e.Type {
	case eventlog.DesiredAssigned:
		return fmt.Sprint(s, " ", e.Device, " revision ", e.Target.Revision, " batch ", e.Batch, " ", e.Target.Content, "#", e.Target.Restart, " ", e.Target.Value)
	case eventlog.DesiredWithdrawn:
		return fmt.Sprint(s, " ", e.Device)
	case eventlog.RolloutRequestRefused:
		return fmt.Sprint(s, " request ", e.Answers)
	}
	s += fmt.Sprint(" ", e.Reason, " request ", e.Answers)
	switch e.Type {
	case eventlog.RolloutStarted:
		for _, b := range e.Plan {
			s += fmt.Sprintf(" %+v", b)
		}
		return fmt.Sprint(s, " ", e.Kind, " revision ", e.Target.Revision, " ", e.Target.Content, "#", e.Target.Restart)
	case eventlog.RolloutBatchStarted, eventlog.RolloutBatchSucceeded, eventlog.RolloutBatchFailed, eventlog.RolloutPromoted, eventlog.RolloutStalled:
		s += fmt.Sprint(" batch ", e.Batch, " full ", e.Full)
	}
	return s
}

// sentenceOf is the same of a real event.
func (tw *twin) sentenceOf(d eventlog.Draft) string {
	addr, err := eventlog.ParseSubject(d.Subject)
	if err != nil {
		tw.Fatalf("%v", err)
	}
	e := rollouttest.Event{Type: d.Type, Device: addr.Device, Batch: d.Batch}
	if d.Type == eventlog.DesiredAssigned || d.Type == eventlog.DesiredWithdrawn {
		e.Deployment = d.Namespace + "/" + addr.Deployment
		e.Target = tw.target(d.Revision, d.Data)
		return sentence(e)
	}
	p, err := eventlog.Payload[eventlog.Rollout](eventlog.Event{Type: d.Type, Version: 2, Data: d.Data})
	if err != nil {
		tw.Fatalf("%s: %v", d.Type, err)
	}
	e.Deployment, e.Reason, e.Answers, e.Batch, e.Full, e.Kind = addr.Namespace+"/"+addr.Name, p.Reason, int(p.Request), p.Batch, p.Full, p.Kind
	for _, b := range p.Batches {
		e.Plan = append(e.Plan, rollouttest.Planned{Cut: b.Cut, Pinned: b.Pinned, Size: b.Size})
	}
	if d.Type == eventlog.RolloutStarted {
		score := []byte(p.Score)
		if len(score) == 0 {
			score = tw.engine.View().Deployments[key(e.Deployment)].Spec.Score
		}
		e.Target = tw.target(p.Revision, score)
	}
	return sentence(e)
}

// target reads a value as the model's content.
func (tw *twin) target(revision uint64, value []byte) rollouttest.Target {
	to := rollouttest.Target{Revision: int(revision)}
	if len(value) == 0 {
		return to
	}
	var score struct {
		Data struct {
			Services []struct {
				Image  string            `json:"image"`
				Env    map[string]string `json:"env"`
				Labels map[string]string `json:"labels"`
			} `json:"services"`
		} `json:"data"`
	}
	if err := json.Unmarshal(value, &score); err != nil {
		tw.Fatalf("%v", err)
	}
	svc := score.Data.Services[0]
	base, filled, chosen := strings.Cut(strings.TrimPrefix(svc.Image, "app:"), "-")
	to.Content = rollouttest.Content(base)
	switch variable, ok := svc.Env["VALUE"]; {
	case chosen:
		to.Content += "@!zone"
	case ok:
		to.Content += "@zone"
		filled = variable
	}
	if !strings.HasPrefix(filled, "$(") { // else it is what the author wrote
		to.Value = filled
	}
	if n := svc.Labels[decide.LabelRestart]; n != "" {
		if _, err := fmt.Sscan(n, &to.Restart); err != nil {
			tw.Fatalf("%v", err)
		}
	}
	return to
}
