package rollouttest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

// Keys are the Deployments of the world: two of one name, and one that others depend on.
var Keys = []string{"a/web", "b/web", "a/db"}

// natures is what devices do with a content.
var natures = []string{"good", "good", "good", "bad", "silent", "brick", "flap", "slow", "late"}

// World is devices and people around a log. Devices do what a content's nature says;
// people apply, label and ask at random; clocks fall back; leaders die after any event.
type World struct {
	*rapid.T
	State *State
	Laws  *Laws
	Log   []Event

	Now       int64 // the log's clock, as the leader reads it: it never falls
	Machine   int64 // the leader's own clock, whose differences alone count
	Behind    int64 // by so much the clock of the server that stores events is behind the log's
	Listening int64 // since when the leader hears devices
	Rows      map[string]int

	// Due gives the events that are due; nil: the model's own.
	Due func() []Event
	// Said hears each event once it is in the log.
	Said func(Event)
	// Crashes says that the leader dies in this round. What follows is held against what
	// follows without that, so nothing may come in another order.
	Crashes bool
	// Elected hears that a leader was elected and has folded the log.
	Elected func()

	recorded, folded int64 // the highest moment in the log, and when the leader folded it

	ids     []string
	natures map[Content]string
	specs   map[string]Spec
	devices map[string]map[string]*running // by device and name
	older   map[string]bool                // devices whose agents name no assignment
	targets map[int]Target                 // by the sequence of the assignment
}

// running is what a device knows of a name.
type running struct {
	deployment string // empty: it was withdrawn
	sequence   int    // of the desired value
	before     int    // of the one before it
	content    Content
	value      string // that was filled in
	upset      bool
	told       eventlog.Phase // its newest report; empty: none about the desired value
	reported   bool           // device-state has something of it
}

// NewWorld makes devices, of which most are online, with their labels.
func NewWorld(t *rapid.T) *World {
	w := &World{
		T: t, State: New(), Laws: NewLaws(), Now: 1000, Rows: map[string]int{},
		natures: map[Content]string{}, specs: map[string]Spec{}, devices: map[string]map[string]*running{},
		older: map[string]bool{}, targets: map[int]Target{},
	}
	return w
}

// Populate makes the devices and what each content does to them.
func (w *World) Populate() {
	w.natures["c1"] = "good"
	for _, c := range []Content{"c2", "c3", "c4", "c5@zone", "c6@zone", "c7@!zone"} {
		w.natures[c] = w.pick("nature", natures...)
	}
	w.elect()
	for i := range rapid.IntRange(1, 14).Draw(w.T, "devices") {
		id := fmt.Sprintf("d%02d", i)
		w.ids = append(w.ids, id)
		w.devices[id] = map[string]*running{}
		w.older[id] = w.chance("older", 4)
		w.label(id)
		if w.chance("online", 5) {
			continue
		}
		w.Append(Event{Type: eventlog.DeviceOnline, Device: id})
	}
}

func (w *World) pick(what string, of ...string) string { return rapid.SampledFrom(of).Draw(w.T, what) }

// chance is true once in n.
func (w *World) chance(what string, n int) bool { return rapid.IntRange(1, n).Draw(w.T, what) == n }

func (w *World) number(what string, of ...int) int { return rapid.SampledFrom(of).Draw(w.T, what) }

func (w *World) label(id string) {
	w.Append(Event{Type: eventlog.DeviceRelabeled, Device: id, Labels: Labels{
		"all": "yes", "site": w.pick("site", "1", "2"), "canary": w.pick("canary", "yes", "no", "no"),
	}})
	w.value(id)
}

// value changes, or takes away, the labels of a device whose values are filled in.
func (w *World) value(id string) {
	labels := maps.Clone(w.State.Devices[id].Known)
	delete(labels, "zone")
	if zone := w.pick("zone", "a", "a", "b", Owned+"a", ""); zone != "" {
		labels["zone"] = zone
	}
	w.Append(Event{Type: eventlog.DeviceRelabeled, Device: id, Labels: labels})
}

// Append puts an event into the log, where the laws hold.
func (w *World) Append(es ...Event) {
	decided := w.Now // all of a round, though a server whose clock is ahead may record it later
	for _, e := range es {
		e.Sequence, e.At, e.Decided = len(w.Log)+1, w.Now-w.Behind, decided
		if err := w.Laws.Check(e); err != nil {
			w.Fatalf("row %s: %v", e.Row, err)
		}
		w.Log = append(w.Log, e)
		w.State.Apply(e)
		w.read()
		w.Rows[e.Row]++
		w.hear(e)
		w.sum(e)
		if w.Said != nil {
			w.Said(e)
		}
	}
}

// read reads the log's clock: the highest moment that the log recorded, and what went by
// since that was folded.
func (w *World) read() {
	if w.State.At > w.recorded {
		w.recorded, w.folded = w.State.At, w.Machine
	}
	if w.State.At > w.Now {
		w.Behind = 0 // that server's clock was ahead
	}
	w.Now = max(w.Now, w.recorded+w.Machine-w.folded)
}

func (w *World) wait(seconds int64) {
	w.Machine += seconds
	w.read()
}

// hear is what the device learns.
func (w *World) hear(e Event) {
	names := w.devices[e.Device]
	if names == nil || e.Deployment == "" {
		return
	}
	r := names[nameOf(e.Deployment)]
	switch e.Type {
	case eventlog.DesiredAssigned:
		w.targets[e.Sequence] = e.Target
		if r == nil {
			r = &running{}
			names[nameOf(e.Deployment)] = r
		}
		r.upset = r.deployment != "" && (r.content != e.Target.Content || r.value != e.Target.Value)
		r.value = e.Target.Value
		r.deployment, r.before, r.sequence, r.content, r.told = e.Deployment, r.sequence, e.Sequence, e.Target.Content, ""
	case eventlog.DesiredWithdrawn:
		r.deployment, r.told = "", ""
	case eventlog.StateReported:
		r.reported = true
	case eventlog.StateCleared:
		r.reported = false
	}
}

// sum is law 6.
func (w *World) sum(e Event) {
	for _, d := range w.State.Deployments {
		counts, matched := w.State.Standings(d, w.Now)
		n := 0
		for _, c := range counts {
			n += c
		}
		if n != matched {
			w.Fatalf("event %d, law 6: %v of %d devices", e.Sequence, counts, matched)
		}
	}
}

// stand holds the standing of each device against what the log said of it alone.
func (w *World) stand() {
	for _, d := range w.State.Deployments {
		for id, dev := range w.State.Devices {
			if !d.matches(dev) || d.Lifecycle != eventlog.DeploymentApplied {
				continue
			}
			if want, got := w.Laws.Standing(d.Key, id, w.Now), w.State.Standing(d, dev, w.Now); got != want {
				w.Fatalf("event %d: %s in %s stands as %s, and by its own events as %s", len(w.Log), id, d.Key, got, want)
			}
		}
	}
}

// act lets a device do something about what it was told.
func (w *World) act(id string) {
	if !w.State.Devices[id].Online {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(w.devices[id])) {
		r := w.devices[id][name]
		if r.deployment == "" {
			if r.reported {
				w.Append(Event{Type: eventlog.StateCleared, Device: id, Deployment: "/" + name})
			}
			continue
		}
		say := r.told
		switch nature := w.natures[r.content]; {
		case nature == "brick" && r.upset:
			w.Append(Event{Type: eventlog.DeviceOffline, Device: id})
			return
		case nature == "bad":
			say = eventlog.PhaseFailed
		case nature == "good" || nature == "brick" || nature == "late" && w.Now%7 == 0:
			say = eventlog.PhaseRunning
		case nature == "slow" && r.told == "":
			say = eventlog.PhasePending
		case nature == "slow":
			say = eventlog.PhaseRunning
		case nature == "flap" && r.told == eventlog.PhaseRunning:
			say = eventlog.PhaseFailed
		case nature == "flap":
			say = eventlog.PhaseRunning
		}
		if say != r.told {
			r.told = say
			w.report(id, r, r.sequence)
		}
	}
}

func (w *World) report(id string, r *running, assignment int) {
	e := Event{Type: eventlog.StateReported, Device: id, Deployment: r.deployment, Phase: r.told, Assignment: assignment}
	if e.Older = w.older[id]; e.Older {
		e.Target = w.targets[assignment]
	}
	w.Append(e)
}

// Step does one thing that people, devices or clocks do.
func (w *World) Step() {
	key, id := w.pick("deployment", Keys...), w.pick("device", w.ids...)
	dev, d := w.State.Devices[id], w.State.Deployments[key]
	switch w.pick("do", "apply", "apply", "settings", "act", "act", "all", "all", "all", "tick", "tick", "tick", "clock", "offline", "online", "online", "label", "value", "value", "late", "ask", "ask", "annotate", "gate", "gate", "gates", "gone", "lead", "budget", "end", "restore") {
	case "apply":
		w.apply(key, true)
	case "settings":
		w.apply(key, false)
	case "act":
		w.act(id)
	case "all":
		w.all()
	case "tick":
		w.wait(int64(w.number("seconds", 1, 30, 60, 100, 300, 400)))
	case "clock":
		w.Behind = int64(w.number("behind", 0, 0, 60, -30))
	case "offline":
		if dev.Online {
			w.Append(Event{Type: eventlog.DeviceOffline, Device: id})
		}
	case "online":
		if !dev.Online {
			w.Append(Event{Type: eventlog.DeviceOnline, Device: id})
		}
	case "label":
		w.label(id)
	case "value":
		w.value(id)
	case "late":
		if r := w.devices[id]["web"]; r != nil && r.deployment != "" && r.before > 0 && r.told == "" {
			r.told = eventlog.PhaseRunning
			w.report(id, r, r.before)
			r.told = ""
		}
	case "ask":
		w.ask(d)
	case "annotate":
		w.annotate(d)
	case "gate":
		w.measure(key, w.pick("verdict", eventlog.GatePass, eventlog.GatePass, eventlog.GatePass, eventlog.GateFail, eventlog.GateNone))
	case "gates": // for as long as they are asked, at most a deadline and a bit
		for verdict := w.pick("verdict", eventlog.GatePass, eventlog.GateFail, eventlog.GateNone); w.State.Asks(key, w.Now, w.Listening) != nil; w.wait(15) {
			w.measure(key, verdict)
			w.Settle(0)
		}
	case "gone":
		if dev.Labels != nil {
			w.Append(Event{Type: DeviceGone, Device: id})
		}
	case "lead":
		w.elect()
	case "budget":
		w.budget()
	case "end":
		w.end(key)
	case "restore":
		if w.chance("restore", 4) {
			w.Append(Event{Type: LogRestored})
		}
	}
}

// elect is a new leader: it folds the log from its beginning, its clock is that of its
// own election, and it has heard no device yet.
func (w *World) elect() {
	w.Append(Event{Type: eventlog.LeaderElected})
	w.Refold()
	w.Now, w.Listening, w.recorded, w.folded = w.State.At, w.State.At, w.State.At, w.Machine
	if w.Elected != nil {
		w.Elected()
	}
}

func (w *World) all() {
	for _, id := range w.ids {
		w.act(id)
	}
}

// apply is a person who applies other content, or other settings alone.
func (w *World) apply(key string, content bool) {
	sp, was := w.specs[key], w.State.Deployments[key]
	if was != nil && was.Lifecycle == eventlog.DeploymentOrphaned {
		return // adoption comes first
	}
	if content || sp.Revision == 0 {
		c := Content(w.pick("content", "c1", "c2", "c3", "c4", "c5@zone", "c6@zone", "c7@!zone"))
		if sp.Revision == 0 {
			c = "c1"
		}
		if c != sp.Content {
			sp.Revision++
		}
		sp.Content = c
		sp.DependsOn = nil
		if w.chance("depends", 5) {
			sp.DependsOn = []string{map[string]string{"a/web": "a/db", "a/db": "a/web", "b/web": "b/db"}[key]}
		}
	}
	if content || sp.Selector == nil || w.chance("selector", 4) {
		sp.Selector = Labels{"all": "yes"}
		if w.chance("site", 3) {
			sp.Selector = Labels{"site": w.pick("selected", "1", "2")}
		}
	}
	sp.MaxUnavailable = eventlog.Amount{N: w.number("max", 1, 2, 3, 4)}
	if w.chance("percent", 3) {
		sp.MaxUnavailable = eventlog.Amount{N: w.number("max", 10, 50, 100), Percent: true}
	}
	sp.Threshold, sp.Deadline = w.number("threshold", 100, 95, 50, 0), 300
	sp.OnFailure = w.pick("onFailure", eventlog.OnFailurePause, eventlog.OnFailureRollback, eventlog.OnFailureRollback, eventlog.OnFailureContinue)
	sp.OfflineDevices = w.pick("offline", eventlog.OfflineSkip, eventlog.OfflineSkip, eventlog.OfflineWait)
	sp.Strategy = w.pick("strategy", eventlog.StrategyBatched, eventlog.StrategyBatched, eventlog.StrategyBatched, eventlog.StrategyImmediate)
	sp.Paused = w.chance("paused", 10)
	sp.Window = Window{}
	if w.chance("windows", 3) {
		sp.Window = Window{Every: int64(w.number("every", 600, 1200, 1800)), For: int64(w.number("for", 60, 300, 600, 900))}
	}
	sp.Rate = Rate{}
	if w.chance("rate", 3) {
		sp.Rate = Rate{Devices: w.number("at a time", 1, 2, 60, 300), Per: int64(w.number("per", 60, 300))}
		if w.chance("grows", 2) {
			sp.Rate.After, sp.Rate.Percent, sp.Rate.Max = w.number("after", 1, 2, 5), w.number("percent", 50, 100, 300), w.number("at most", 300, 2, 5)
		}
		sp.Rate.Max = max(sp.Rate.Max, sp.Rate.Devices)
	}
	if content || w.chance("batches", 3) {
		sp.Batches = w.batches()
	}
	w.specs[key] = sp
	w.Append(Event{Type: eventlog.DeploymentApplied, Deployment: key, Spec: sp})
}

// batches draws the batches of a spec: none, one, or up to four.
func (w *World) batches() []Batch {
	var bs []Batch
	n := rapid.IntRange(-1, 3).Draw(w.T, "batches")
	for k := range n {
		b := Batch{Size: eventlog.Amount{N: 1 + 3*k}, Soak: int64(w.number("soak", 0, 10, 100, 200)), Manual: w.chance("manual", 4)}
		b.FourEyes = b.Manual && w.chance("four eyes", 4)
		for range w.number("gates", 0, 0, 0, 1, 2) {
			b.Gates = append(b.Gates, Gate{Name: fmt.Sprint("gate-", len(b.Gates)), For: int64(w.number("holds for", 0, 30, 60, 200))})
		}
		if w.chance("percent", 3) {
			b.Size = eventlog.Amount{N: 20 * (k + 1), Percent: true}
		}
		if k == 0 && w.chance("pin", 3) {
			b.Size, b.Pin = eventlog.Amount{}, Labels{"canary": "yes"}
		}
		bs = append(bs, b)
	}
	if n < 0 {
		return nil
	}
	return append(bs, Batch{Soak: int64(w.number("soak", 0, 10))})
}

// measure is an answer about each gate that is to be asked.
func (w *World) measure(key, verdict string) {
	for _, g := range w.State.Asks(key, w.Now, w.Listening) {
		if w.Now >= w.asked(key, g) && len(w.State.Asks(key, w.Now, w.Listening)) > 0 {
			w.Append(Event{Type: eventlog.RolloutGateMeasured, Deployment: key, Batch: w.State.Deployments[key].Run.Batch, Gate: g, Verdict: verdict})
		}
	}
}

// asked is when a gate is to be asked next.
func (w *World) asked(key string, g Gate) int64 {
	a := w.State.Deployments[key].Run.gate(g)
	if a == nil {
		return 0
	}
	return a.Last + g.every(a.Answers)
}

// ask is a person who asks, most often about what is there now.
func (w *World) ask(d *Deployment) {
	if d == nil {
		return
	}
	q := Request{Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch}
	q.Verb = rapid.SampledFrom(append(eventlog.RolloutVerbs(), eventlog.RequestResume, eventlog.RequestPromote, eventlog.RequestUndo)).Draw(w.T, "verb")
	if d.turned() && w.chance("other way", 2) {
		q.Verb = w.pick("verb", eventlog.RequestUndo, eventlog.RequestRetry, eventlog.RequestRestart)
	}
	q.Full = q.Verb == eventlog.RequestPromote && w.chance("full", 3)
	if q.Verb == eventlog.RequestUndo && w.chance("to", 3) {
		q.ToRevision = rapid.IntRange(1, d.Spec.Revision+1).Draw(w.T, "revision")
	}
	switch w.number("wrong", 0, 0, 0, 0, 0, 0, 1, 2, 3) {
	case 1:
		q.Revision--
	case 2:
		q.Run--
	case 3:
		q.Batch++
	}
	w.Append(Event{Type: eventlog.RequestMade, Deployment: d.Key, Request: q})
}

// annotate is a person who lets a batch go on by Kubernetes, most often the open one.
func (w *World) annotate(d *Deployment) {
	if d == nil || d.Lifecycle != eventlog.DeploymentApplied {
		return
	}
	a := Annotation{Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch, By: w.pick("by", "ada", "ada", "bob", ""), Author: w.pick("author", "bob", "bob", "")}
	switch w.number("wrong", 0, 0, 0, 1, 2, 3) {
	case 1:
		a.Revision++
	case 2:
		a.Run--
	case 3:
		a.Batch++
	}
	w.Append(Event{Type: Annotated, Deployment: d.Key, Annotation: a})
}

func (w *World) budget() {
	name := w.pick("budget", "x", "y")
	if w.chance("delete", 3) {
		if _, ok := w.State.Budgets[name]; ok {
			w.Append(Event{Type: eventlog.BudgetDeleted, Budget: name})
		}
		return
	}
	b := Budget{Selector: Labels{"all": "yes"}, GroupBy: w.pick("group", "", "site")}
	if w.chance("canaries", 3) {
		b.Selector = Labels{"canary": "yes"}
	}
	n := eventlog.Amount{N: w.number("limit", 1, 2, 3)}
	if w.chance("percent", 3) {
		n = eventlog.Amount{N: 50, Percent: true}
	}
	if w.chance("least", 3) {
		b.MinAvailable = &n
	} else {
		b.MaxUnavailable = &n
	}
	w.Append(Event{Type: eventlog.BudgetApplied, Budget: name, Limit: b})
}

// end deletes a Deployment, orphans it, or adopts it.
func (w *World) end(key string) {
	d := w.State.Deployments[key]
	switch {
	case d == nil || d.Lifecycle == eventlog.DeploymentDeleted:
	case d.Lifecycle == eventlog.DeploymentOrphaned:
		w.Append(Event{Type: eventlog.DeploymentAdopted, Deployment: key})
	case w.chance("delete", 3):
		w.Append(Event{Type: eventlog.DeploymentDeleted, Deployment: key})
	default:
		w.Append(Event{Type: eventlog.DeploymentOrphaned, Deployment: key})
	}
}

// Live is a world from its beginning to its calm.
func Live(w *World) {
	w.Populate()
	for range rapid.IntRange(5, 60).Draw(w.T, "steps") {
		w.Step()
		w.Settle(w.number("crash", 0, 0, 0, 1, 2, 4))
	}
	w.Refold()
	w.Calm()
}

func (w *World) due() []Event {
	if w.Due != nil {
		return w.Due()
	}
	return w.State.Decide(w.Now, w.Listening)
}

// Settle decides until nothing is due. With a crash, the rest of a round after so many
// events is never appended, and another leader folds the log from its beginning and
// decides again.
func (w *World) Settle(crash int) {
	w.Crashes = crash > 0
	var without map[string]string // where the runs get without the crash
	for round := 0; ; round++ {
		due := w.due()
		switch {
		case len(due) == 0:
			if got := phases(w.State); without != nil && !maps.Equal(got, without) {
				w.Fatalf("law 7: after a crash the runs are at %v, without it at %v", got, without)
			}
			if err := w.Laws.Settled(w.Now); err != nil {
				w.Fatalf("event %d, nothing more is due: %v", len(w.Log), err)
			}
			w.stand()
			return
		case round > 300:
			w.Fatalf("it does not come to an end; row %s again: %+v", due[0].Row, due[0])
		case crash > 0 && len(due) > crash:
			without = w.uncrashed(due)
			w.Append(due[:crash]...)
			w.elect()
			crash = 0
		default:
			w.Append(due...)
		}
	}
}

// uncrashed is where the runs get if a round is appended whole.
func (w *World) uncrashed(due []Event) map[string]string {
	s := w.fold()
	for ; len(due) > 0; due = s.Decide(s.At, s.At) {
		for _, e := range due {
			e.Sequence, e.At = s.Sequence+1, max(s.At, w.Now-w.Behind)
			s.Apply(e)
		}
	}
	return phases(s)
}

func phases(s *State) map[string]string {
	m := map[string]string{}
	for key, d := range s.Deployments {
		m[key] = fmt.Sprint(d.Run.Kind, d.Run.Phase, d.Run.Batch, d.Run.Reason, d.Hold, d.Stable)
	}
	return m
}

// Refold is law 7: the fold from the beginning is what is in memory.
func (w *World) Refold() {
	s := w.fold()
	if diff := cmp.Diff(w.State, s, cmpopts.IgnoreUnexported(Device{})); diff != "" {
		w.Fatalf("law 7: the log folded from its beginning differs from memory (-memory +log):\n%s", diff)
	}
	w.State = s
}

func (w *World) fold() *State {
	s := New()
	for _, e := range w.Log {
		s.Apply(e)
	}
	return s
}

// Calm is the world in which nothing but contents misbehaves, for long enough that each
// run comes to its end: law 8.
func (w *World) Calm() {
	w.Behind = 0
	until := w.Now + 30000
	for quiet := 0; quiet < 4; quiet++ {
		for _, id := range w.ids {
			if !w.State.Devices[id].Online {
				w.Append(Event{Type: eventlog.DeviceOnline, Device: id})
			}
		}
		w.Settle(0)
		for range 3 {
			w.all()
			w.Settle(0)
		}
		for range 30 { // the longest soak of a device that flaps, and the longest gate
			if !w.gated() {
				break
			}
			for _, key := range Keys {
				w.measure(key, eventlog.GatePass)
			}
			w.Settle(0)
			w.wait(15)
		}
		w.wait(110) // which meets each window sooner or later
		w.Settle(0)
		for _, d := range w.State.Deployments {
			if w.ended(d) {
				continue
			}
			if quiet = -1; w.Now > until {
				w.Fatalf("law 8: %s does not end: %+v, spec %+v, verdict %+v", d.Key, d.Run, d.Spec, w.State.Judge(d, w.Now))
			}
		}
	}
}

// gated says whether a batch with gates is open.
func (w *World) gated() bool {
	for _, d := range w.State.Deployments {
		if d.Run.Phase == Progressing && !d.passed() && len(d.batch().Gates) > 0 {
			return true
		}
	}
	return false
}

// ended: the run is over, or waits for a person, a dependency or windows.
func (w *World) ended(d *Deployment) bool {
	r := &d.Run
	if r.Phase != Progressing || d.Hold || d.Spec.Paused || d.Lifecycle != eventlog.DeploymentApplied || r.Kind == eventlog.RunImmediate {
		return r.Phase != Superseded || d.Lifecycle != eventlog.DeploymentApplied
	}
	v := w.State.Judge(d, w.Now)
	if w := d.Spec.Window; w.Every > 0 && w.For <= d.Spec.Deadline && v.Open == 0 && (v.Waiting > 0 || v.Proven == 0) {
		return true // no window is long enough for what waits for a budget to be called stuck, or for a batch to be called unproven
	}
	return d.passed() && d.batch().Manual || v.Waiting > 0 && v.Ready == 0 || nowhere(r, v)
}
