package reconcile

import (
	"regexp"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
)

// The log cannot forget, so what a Deployment reports while its phase, its reason
// and its containers stay the same is bounded: a burst, so that a person sees
// what happens, then one report each ten minutes. Words alone have a smaller
// burst: a check that fails now in one way and now in another is the same failure.
const (
	detailsBurst  = 10
	wordsBurst    = 2
	detailsRefill = 10 * time.Minute
	// numbersApart is the least time between two reports that differ in nothing but
	// the numbers of a message: a check's output may count, measure or tell the time.
	numbersApart = time.Hour
)

// numbers are a message's words that have a digit in them: counts, durations,
// times, ids.
var numbers = regexp.MustCompile(`[0-9A-Za-z_]*[0-9][0-9A-Za-z_]*`)

// change is what tells two reports of a Deployment apart.
type change int

const (
	changeNone    change = iota
	changeNumbers        // of the message, and nothing else
	changeWords          // the message
	changeDetails        // a service's state, health or restarts
	changePhase          // phase, reason, assignment, or which containers there are
)

// changeOf gives the greatest difference between two reports.
func changeOf(a, b eventlog.DeploymentState) change {
	sameServices := func(eq func(x, y eventlog.ServiceState) bool) bool {
		return slices.EqualFunc(a.Services, b.Services, eq)
	}
	before, after := textOf(a), textOf(b)
	switch {
	case a.DeviceID != b.DeviceID || a.Phase != b.Phase || a.Reason != b.Reason || a.ScoreHash != b.ScoreHash || a.Revision != b.Revision || a.Assignment != b.Assignment ||
		!sameServices(func(x, y eventlog.ServiceState) bool {
			return x.Name == y.Name && x.ContainerID == y.ContainerID && x.ImageDigest == y.ImageDigest &&
				x.Revision == y.Revision && slices.Equal(x.Ports, y.Ports)
		}):
		return changePhase
	case !sameServices(func(x, y eventlog.ServiceState) bool {
		return x.State == y.State && x.Health == y.Health && x.Restarts == y.Restarts
	}):
		return changeDetails
	case numbers.ReplaceAllString(before, "0") != numbers.ReplaceAllString(after, "0"):
		return changeWords
	case before != after:
		return changeNumbers
	}
	return changeNone
}

func textOf(s eventlog.DeploymentState) string {
	if s.LastError == nil {
		return ""
	}
	return *s.LastError
}

// settleText reports a state if it tells news, and gives what stands reported.
func (k *Reconciler) settleText(s eventlog.DeploymentState, now time.Time) eventlog.DeploymentState {
	before, known := k.states[s.Deployment]
	s.LastEventAt = before.LastEventAt
	if known && !k.news(before, s, now) {
		return before
	}
	s.LastEventAt = now.UTC()
	k.o.Reports.State(s)
	if before.Phase != s.Phase || before.Reason != s.Reason {
		k.o.Log.Info("phase changed", "deployment", s.Deployment, "phase", s.Phase, "reason", s.Reason, "error", textOf(s), "revision", s.Revision)
	}
	return s
}

// news says whether a report is to be told after the one before. What is not told
// now is told with the next that is, or once its time has come.
func (k *Reconciler) news(before, s eventlog.DeploymentState, now time.Time) bool {
	switch changeOf(before, s) {
	case changePhase:
		return true
	case changeNumbers:
		since := now.Sub(before.LastEventAt)
		return since < 0 || since >= numbersApart
	case changeWords:
		return k.mayTell(detail{s.Deployment, changeWords}, wordsBurst)
	case changeDetails:
		return k.mayTell(detail{s.Deployment, changeDetails}, detailsBurst)
	}
	return false
}

// detail is a kind of news of a Deployment that has an allowance.
type detail struct {
	deployment string
	change     change
}

func (k *Reconciler) mayTell(d detail, burst int) bool {
	a := k.details[d]
	if a == nil {
		a = &allowance{burst: burst, refill: detailsRefill}
		k.details[d] = a
	}
	now := time.Now()
	if a.next(now).After(now) {
		return false
	}
	a.take(now)
	return true
}

// forgetDetails drops the allowances of Deployments of which nothing is reported.
func (k *Reconciler) forgetDetails() {
	for d := range k.details {
		if _, known := k.states[d.deployment]; !known {
			delete(k.details, d)
		}
	}
}
