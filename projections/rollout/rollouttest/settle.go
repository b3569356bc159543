package rollouttest

import (
	"fmt"
	"maps"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/eventlog"
)

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
