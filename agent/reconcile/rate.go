package reconcile

import (
	"time"

	"fleet.nationtech.io/agent/plan"
)

// Rates that no engine, however it answers, makes the reconciler exceed. Each is
// held by TestNoEngineMakesTheReconcilerSpin.
const (
	// turnsApart is the least time between two turns of the loop.
	turnsApart = 50 * time.Millisecond
	// Looks: a burst for events that come together, then 4 a second.
	looksBurst  = 10
	looksRefill = 250 * time.Millisecond
	// Work on one service (a chain of steps): a burst for a person who tries
	// things out, then one each 5 s. Failures and crashes have longer back-offs of
	// their own; this bounds an engine that says "done" and does nothing.
	workBurst  = 10
	workRefill = 5 * time.Second
)

// allowance bounds how often something is done: burst times at once, then once
// per refill. Time is the machine's monotonic clock, which nobody sets back.
type allowance struct {
	burst  int
	refill time.Duration

	spent time.Duration // of the burst, as the time that refills it
	at    time.Time
}

// next is the moment from which one more is allowed; it is not after now where
// one is allowed at once.
func (a *allowance) next(now time.Time) time.Time {
	a.settle(now)
	return now.Add(a.spent + a.refill - time.Duration(a.burst)*a.refill)
}

// take spends one. The caller has asked next.
func (a *allowance) take(now time.Time) {
	a.settle(now)
	a.spent += a.refill
}

// full says whether nothing is spent, so that a new allowance would be the same.
func (a *allowance) full(now time.Time) bool {
	a.settle(now)
	return a.spent == 0
}

func (a *allowance) settle(now time.Time) {
	if passed := now.Sub(a.at); passed > 0 {
		a.spent = max(0, a.spent-passed)
	}
	a.at = now
}

// mayWork says whether work on a service may begin now, and if so counts it.
// Where it may not, the loop wakes when it may.
func (k *Reconciler) mayWork(key plan.Key, now time.Time) bool {
	a := k.worked[key]
	if a == nil {
		a = &allowance{burst: workBurst, refill: workRefill}
		k.worked[key] = a
	}
	if at := a.next(now); at.After(now) {
		k.wakeBy(at)
		return false
	}
	a.take(now)
	return true
}

// forgetWork drops the allowances that are whole again.
func (k *Reconciler) forgetWork(now time.Time) {
	for key, a := range k.worked {
		if a.full(now) {
			delete(k.worked, key)
		}
	}
}

// wakeBy makes the loop turn at the moment at, or earlier.
func (k *Reconciler) wakeBy(at time.Time) {
	if k.due.IsZero() || at.Before(k.due) {
		k.due = at
	}
}
