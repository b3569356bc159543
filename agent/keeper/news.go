package keeper

import (
	"regexp"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
)

// The log cannot forget, so what a Deployment reports while its phase, its reason
// and its containers stay the same is bounded: a burst, so that a person sees
// what happens, then one report each ten minutes.
const (
	detailsBurst  = 10
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
	changeDetails        // the message; a service's state, health or restarts
	changePhase          // phase, reason, score, or which containers there are
)

// changeOf gives the greatest difference between two reports.
func changeOf(a, b eventlog.DeploymentState) change {
	sameServices := func(eq func(x, y eventlog.ServiceState) bool) bool {
		return slices.EqualFunc(a.Services, b.Services, eq)
	}
	before, after := textOf(a), textOf(b)
	switch {
	case a.DeviceID != b.DeviceID || a.Phase != b.Phase || a.Reason != b.Reason || a.ScoreHash != b.ScoreHash || a.Revision != b.Revision ||
		!sameServices(func(x, y eventlog.ServiceState) bool {
			return x.Name == y.Name && x.ContainerID == y.ContainerID && x.ImageDigest == y.ImageDigest &&
				x.Revision == y.Revision && slices.Equal(x.Ports, y.Ports)
		}):
		return changePhase
	case numbers.ReplaceAllString(before, "0") != numbers.ReplaceAllString(after, "0") ||
		!sameServices(func(x, y eventlog.ServiceState) bool {
			return x.State == y.State && x.Health == y.Health && x.Restarts == y.Restarts
		}):
		return changeDetails
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

// say reports a state if it tells news, and gives what stands reported.
func (k *Keeper) say(s eventlog.DeploymentState, now time.Time) eventlog.DeploymentState {
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
func (k *Keeper) news(before, s eventlog.DeploymentState, now time.Time) bool {
	switch changeOf(before, s) {
	case changePhase:
		return true
	case changeNumbers:
		since := now.Sub(before.LastEventAt)
		return since < 0 || since >= numbersApart
	case changeDetails:
		a := k.details[s.Deployment]
		if a == nil {
			a = &allowance{burst: detailsBurst, refill: detailsRefill}
			k.details[s.Deployment] = a
		}
		at := time.Now()
		if a.next(at).After(at) {
			return false
		}
		a.take(at)
		return true
	}
	return false
}

// forgetDetails drops the allowances of Deployments of which nothing is reported.
func (k *Keeper) forgetDetails() {
	for deployment := range k.details {
		if _, known := k.states[deployment]; !known {
			delete(k.details, deployment)
		}
	}
}
