package rollouttest

import (
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Annotation is a Deployment's annotation with the API server's stamps: who set it, and
// who wrote the spec. An empty name was not stamped.
type Annotation struct {
	Revision, Run, Batch int
	By, Author           string
}

// Content stands for the canonical bytes of a score; the empty Content is none. What is
// after a '@' in it is the key of a label whose value is filled in; after '@!', in a place
// in which only labels are taken that the device does not own itself.
type Content string

// Owned begins the values of the labels that a device owns itself.
const Owned = "own-"

// value is what is filled in for a device with these labels; false: it has no such value.
// Where nothing is filled in it is empty.
func (c Content) value(labels Labels) (string, bool) {
	_, key, templated := strings.Cut(string(c), "@")
	if !templated {
		return "", true
	}
	key, chosen := strings.CutPrefix(key, "!")
	v, ok := labels[key]
	return v, ok && (!chosen || !strings.HasPrefix(v, Owned))
}

// Target is what a run gives to devices.
type Target struct {
	Revision int
	Content  Content
	Restart  int // rendered into the value: another number is another hash
	// Value is what is filled in for the device, of what a device is given: see Content.value.
	Value string
}

// Same says whether two targets are of the same bytes before anything is filled in. They
// may differ in the revision's number.
func (t Target) Same(o Target) bool { return t.Content == o.Content && t.Restart == o.Restart }

// Labels are a device's labels, or what a selector wants of them. Empty ones select
// nothing.
type Labels map[string]string

func (want Labels) selects(have Labels) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return len(want) > 0
}

// Batch is a batch as the author of a spec wrote it: with a size, a pin, or (the last
// one) neither.
type Batch struct {
	Size             eventlog.Amount
	Pin              Labels
	Soak             int64
	Manual, FourEyes bool
	Gates            []Gate
}

// Gate is a question that has to be answered well for so many seconds.
type Gate struct {
	Name string
	For  int64
}

// every is the time between two questions of a gate, once so many were answered.
func (g Gate) every(answers int) int64 {
	if answers >= 64 {
		return max(15, g.For/8, 300)
	}
	return max(15, g.For/8)
}

// Spec is what deployment.applied says.
type Spec struct {
	Revision                  int
	Content                   Content
	Selector                  Labels
	Strategy                  string
	Batches                   []Batch // none: the defaults
	MaxUnavailable            eventlog.Amount
	Threshold                 int // percent
	Deadline                  int64
	OnFailure, OfflineDevices string
	Paused                    bool
	DependsOn                 []string // keys of Deployments
	Window                    Window
	Rate                      Rate
}

// Rate is how many devices are given something in so many seconds; the zero Rate does not
// bound that. Each After successes it grows by Percent, up to Max.
type Rate struct {
	Devices             int
	Per                 int64
	After, Percent, Max int
}

// per is how many devices there are in Per seconds once so many succeeded.
func (r Rate) per(succeeded int) int {
	n := r.Devices
	for steps := 0; r.After > 0 && steps < succeeded/r.After && n < r.Max; steps++ {
		n = min(r.Max, max(n+1, n*(100+r.Percent)/100))
	}
	return n
}

// interval is what each device takes of it, in milliseconds.
func (r Rate) interval(succeeded int) int64 { return r.Per * 1000 / int64(r.per(succeeded)) }

// burst is how many are given something at once: a second's.
func (r Rate) burst(succeeded int) int { return int(max(1, 1000/r.interval(succeeded))) }

// Window opens every so many seconds of the clock, for so many; the zero Window is
// always open.
type Window struct{ Every, For int64 }

// open says whether a moment is in the window.
func (w Window) open(now int64) bool { return w.Every == 0 || (now+OfDay)%w.Every < w.For }

// since is when the window opened in which a moment is; 0: it is always open.
func (w Window) since(now int64) int64 {
	if w.Every == 0 || w.For >= w.Every {
		return 0
	}
	return now - (now+OfDay)%w.Every
}

// Budget is a DisruptionBudget. GroupBy is one label's key, or nothing.
type Budget struct {
	Selector                     Labels
	MaxUnavailable, MinAvailable *eventlog.Amount
	GroupBy                      string
}

// Planned is a batch as rollout.started froze it.
type Planned struct {
	Cut    uint64 // the highest order of its devices
	Pinned bool
	Size   int
}
