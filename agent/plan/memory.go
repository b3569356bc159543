package plan

import (
	"bytes"
	"fmt"
	"maps"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Key names one service of one Deployment.
type Key struct {
	Deployment string
	Service    string
}

// MarshalText writes a key as "deployment/service", so that a Memory is JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.Deployment + "/" + k.Service), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(b []byte) error {
	deployment, service, ok := bytes.Cut(b, []byte{'/'})
	if !ok {
		return fmt.Errorf("key %q has no '/'", b)
	}
	k.Deployment, k.Service = string(deployment), string(service)
	return nil
}

// Memory is what can't be read off the containers: how often something failed,
// when to try again, what the checks said. Nil is an empty one. Its methods
// change nothing; each gives a new Memory. Lost, it costs a try too many and a
// check that has to pass again, nothing else.
type Memory map[Key]Record

// Record is what is remembered of one service, for as long as its part of the
// score stays the same.
type Record struct {
	Hash string `json:"hash"`
	// Container is the id seen last.
	Container string `json:"container,omitempty"`
	// Lost says that a container was seen, and then was gone.
	Lost bool `json:"lost,omitempty"`
	// Ran says that a container ran, so that the next start is a restart.
	Ran bool `json:"ran,omitempty"`
	// Counted is when the last end that was counted happened.
	Counted   time.Time `json:"counted,omitzero"`
	Restarts  int       `json:"restarts,omitempty"`  // starts after the first, whatever the cause
	Crashes   int       `json:"crashes,omitempty"`   // in a row, without a stable run between
	Kills     int       `json:"kills,omitempty"`     // by somebody's hand, as it seems, without a stable run between
	RestartAt time.Time `json:"restart_at,omitzero"` // not to be started again before
	LastEnd   string    `json:"last_end,omitempty"`  // how the last crash ended, in words
	Failures  int       `json:"failures,omitempty"`  // of steps, in a row
	Failure   *Failure  `json:"failure,omitempty"`   // of the last step, if it failed
	Odd       *Odd      `json:"odd,omitempty"`       // a state that should pass by itself
	Health    Health    `json:"health,omitzero"`
	Next      *Next     `json:"next,omitempty"` // the update that waits, if one does
}

// Next is how far an update of the service has come that can't take its place yet.
type Next struct {
	Hash     string   `json:"hash"`
	Pulled   bool     `json:"pulled,omitempty"`   // its image was here
	Failures int      `json:"failures,omitempty"` // in a row
	Failure  *Failure `json:"failure,omitempty"`  // of the last try, if it failed
}

// Failure is a step that failed.
type Failure struct {
	Verb    Verb         `json:"verb"`
	Class   engine.Class `json:"class"`
	Reason  string       `json:"reason"`
	Message string       `json:"message"`
	At      time.Time    `json:"at"`
	// RetryAt is when to try again, unless the score changes or somebody removes the
	// container before.
	RetryAt time.Time `json:"retry_at"`
}

// Odd is since when a container has been in a state that should pass by itself.
type Odd struct {
	State engine.State `json:"state"`
	Since time.Time    `json:"since"`
}

// Health is what the checks of one run said.
type Health struct {
	Container string    `json:"container,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"` // of the run
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// MissedAt is when a check could not be made, if none was made since.
	MissedAt time.Time `json:"missed_at,omitzero"`
	Passed   bool      `json:"passed,omitempty"`  // a check of this run passed
	Failing  int       `json:"failing,omitempty"` // in a row, those in the start period not counted
	Message  string    `json:"message,omitempty"` // of the last one that failed
}

func (m Memory) clone() Memory {
	if m == nil {
		return Memory{}
	}
	return maps.Clone(m)
}

func (m Memory) with(key Key, r Record) Memory {
	c := m.clone()
	c[key] = r
	return c
}

// Failed tells that a step failed. Steps that a context's end cut short are not
// to be told: they failed at nothing.
func (m Memory) Failed(step Step, err *engine.Error, now time.Time) Memory {
	r := m[step.Key]
	if r.updates(step) {
		return m.with(step.Key, r.notUpdated(step, err, now))
	}
	r.Failures++
	r.Failure = failure(step, err, err.Class, r.Failures, now)
	return m.with(step.Key, r)
}

// updates says whether a step brings the service from an earlier revision to the
// wanted one, up to where the next container is made.
func (r Record) updates(step Step) bool {
	if step.Spec == nil {
		return false
	}
	switch step.Verb {
	case VerbPull:
		return r.Hash != "" && r.Hash != step.Spec.Service.Hash
	case VerbCreate:
		return r.Next != nil && r.Next.Hash == step.Spec.Service.Hash
	}
	return false
}

// notUpdated: the update waits on. Where the container of the next revision could
// not be made, the one before is to be made again, which interrupts the service
// with each try; so these are far apart.
func (r Record) notUpdated(step Step, err *engine.Error, now time.Time) Record {
	n := Next{Hash: step.Spec.Service.Hash}
	if r.Next != nil && r.Next.Hash == n.Hash {
		n.Failures = r.Next.Failures
	}
	n.Failures++
	class := err.Class
	if step.Verb == VerbCreate && class == engine.ClassRetry {
		class = engine.ClassRetrySlowly
	}
	n.Failure = failure(step, err, class, n.Failures, now)
	r.Next = &n
	return r
}

func failure(step Step, err *engine.Error, class engine.Class, times int, now time.Time) *Failure {
	return &Failure{
		Verb: step.Verb, Class: err.Class, Reason: err.Reason, Message: err.Error(), At: now,
		RetryAt: now.Add(class.Delay(times)),
	}
}

// Succeeded tells that a step was done.
func (m Memory) Succeeded(step Step, _ time.Time) Memory {
	r := m[step.Key]
	if step.Verb == VerbPull && r.updates(step) {
		n := Next{Hash: step.Spec.Service.Hash, Pulled: true}
		if old := r.Next; old != nil && old.Hash == n.Hash && old.Failure != nil && old.Failure.Verb != VerbPull {
			n.Failures, n.Failure = old.Failures, old.Failure // that is not over yet
		}
		r.Next = &n
		return m.with(step.Key, r)
	}
	switch step.Verb {
	case VerbStart:
		if r.Ran {
			r.Restarts++
		}
		r.Ran = true
	case VerbPull, VerbCreate, VerbStop:
		// Only the end of a chain ends a row of failures: a pull succeeds each time
		// although the start after it never does.
		return m
	}
	r.Failures, r.Failure = 0, nil
	return m.with(step.Key, r)
}

// Checked tells what a health check said; message matters only where it failed.
func (m Memory) Checked(check Check, passed bool, message string, now time.Time) Memory {
	r := m[check.Key].ofRun(check)
	r.Health.CheckedAt, r.Health.MissedAt = now, time.Time{}
	switch {
	case passed:
		r.Health.Passed, r.Health.Failing, r.Health.Message = true, 0, ""
	case now.Sub(check.StartedAt) < check.Check.StartPeriod && !r.Health.Passed:
		r.Health.Message = message
	default:
		r.Health.Failing++
		r.Health.Message = message
	}
	return m.with(check.Key, r)
}

// NotChecked tells that a health check could not be made, as the container or the
// engine was not there. It says nothing of the service, but when to try again.
func (m Memory) NotChecked(check Check, now time.Time) Memory {
	r := m[check.Key].ofRun(check)
	r.Health.MissedAt = now
	return m.with(check.Key, r)
}

// ofRun gives the record with the results of the run that the check is of.
func (r Record) ofRun(check Check) Record {
	if r.Health.Container != check.Container || !r.Health.StartedAt.Equal(check.StartedAt) {
		r.Health = Health{Container: check.Container, StartedAt: check.StartedAt}
	}
	return r
}

// next is the moment of the next check of a run that began at the moment started.
// The zero time is at once. A result that lies ahead of now comes from a clock
// that was set back: it holds up nothing.
func (h Health) next(hc score.HealthCheck, started, now time.Time) time.Time {
	last, interval := h.CheckedAt, hc.Interval
	if !h.Passed && h.CheckedAt.Sub(started) < hc.StartPeriod {
		interval = min(interval, firstChecks)
	}
	if !h.MissedAt.IsZero() {
		last, interval = h.MissedAt, min(interval, firstChecks)
	}
	if last.IsZero() || last.After(now) {
		return time.Time{}
	}
	return last.Add(interval)
}
