package rollouttest

import (
	"fmt"
	"maps"
	"slices"

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
