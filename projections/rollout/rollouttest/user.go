package rollouttest

import (
	"fmt"

	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

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
