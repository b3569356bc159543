package plan

import (
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Reasons of a phase that are the plan's own; those of the engine and the score
// are theirs.
const (
	ReasonCrashLoop         = "CrashLoop"         // Failed: it ended at least twice soon after its start, and is started again with back-off
	ReasonContainerExited   = "ContainerExited"   // Failed: it ended with an error, and its policy is Never
	ReasonUnhealthy         = "Unhealthy"         // Failed: as many checks in a row failed as the score allows
	ReasonCreating          = "Creating"          // Pending: it has no container yet
	ReasonReplacing         = "Replacing"         // Pending: its container is of an earlier score, and is kept until its update can take its place
	ReasonStarting          = "Starting"          // Pending: its container does not run yet, or its first check has not passed
	ReasonRemoving          = "Removing"          // Pending: containers that are no longer wanted are being removed
	ReasonUnknownDeployment = "UnknownDeployment" // the log says nothing of it: it is left alone
)

// Health words, as a report has them.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// Status is all that the predicates of one service look at. Service is what it is
// kept as.
type Status struct {
	Service   score.Service
	Container *engine.Container // the best one; nil is none
	Record    Record
	Now       time.Time

	// Revision is the Deployment's, of which Service is.
	Revision uint64
	// Waits: Service is of an earlier revision, kept until the wanted one can take
	// its place.
	Waits bool
	// Ended is how the service ended for good; nil where it did not.
	Ended *Ended
}

// Over: it ended for good, and its container may be gone since.
func (s Status) Over() bool {
	return s.Ended != nil && !Restarts(s.Service.RestartPolicy, s.Ended.ExitCode)
}

// Current: there is a container, made from this very part of the score.
func (s Status) Current() bool { return s.Container != nil && s.Container.Hash == s.Service.Hash }

// Restarts says whether the policy wants a container that ended so started again.
func Restarts(policy score.RestartPolicy, exitCode int) bool {
	switch policy {
	case score.RestartNever:
		return false
	case score.RestartOnFailure:
		return exitCode != 0
	}
	return true
}

// lostPort says that the container can't have a host port any more that was
// chosen for it when it was free: another container gets another.
func (s Status) lostPort() bool {
	f := s.Record.Failure
	return f != nil && f.Reason == engine.ReasonPortInUse && f.Verb == VerbStart &&
		slices.ContainsFunc(s.Service.Ports, func(p score.Port) bool { return p.Host == 0 })
}

// Health is empty where there is no check or the container does not run;
// healthy when a check of this run passed and fewer than the allowed number
// failed in a row since; unhealthy when that many did; else starting.
func (s Status) Health() string {
	if s.Service.HealthCheck == nil || !s.Current() || s.Container.State != engine.StateRunning {
		return ""
	}
	h := s.Record.Health
	switch {
	case !h.of(*s.Container):
		return HealthStarting
	case h.Failing >= s.Service.HealthCheck.Retries:
		return HealthUnhealthy
	case h.Passed:
		return HealthHealthy
	}
	return HealthStarting
}

// of says whether the results are of the container's present run.
func (h Health) of(c engine.Container) bool {
	return h.Container == c.ID && h.StartedAt.Equal(c.StartedAt)
}

// Loops: it crashed again soon after it was started again. One crash is repaired
// and no more said.
func (s Status) Loops() bool { return s.Record.Crashes > 1 }

// Settled: the container runs, and has done so long enough if it crashed in a row.
func (s Status) Settled() bool {
	return s.Current() && s.Container.State == engine.StateRunning &&
		(!s.Loops() || s.Now.Sub(s.Container.StartedAt) >= SettleRun)
}

// Completed: the container exited with 0, and its policy wants no more of it. It
// stays completed when the container is removed.
func (s Status) Completed() bool { return s.over(0) }

// over says whether the service ended for good, with the code.
func (s Status) over(code int) bool {
	if s.Container == nil {
		return s.Over() && s.Ended.ExitCode == code
	}
	return s.Current() && s.Container.State.Ended() && s.Container.ExitCode == code && !Restarts(s.Service.RestartPolicy, code)
}

// Running: the service is as its restartPolicy wants it. Its container runs,
// settled, and healthy where it has a check; or it is completed.
func (s Status) Running() bool {
	if s.Waits {
		return false
	}
	if s.Completed() {
		return true
	}
	health := s.Health()
	return s.Settled() && (health == "" || health == HealthHealthy)
}

// Failed: the service can't be made as it is wanted, for the time being. The
// last step failed; or its container ended for good with an error; or crashes
// in a row; or is unhealthy. Where an update waits, only what holds up the update
// is a failure; how the earlier revision fares is seen by the container's state.
func (s Status) Failed() (reason, message string, failed bool) {
	if next := s.Record.Next; next != nil && next.Failure != nil {
		message = fmt.Sprintf("%s: %s", next.Failure.Verb, next.Failure.Message)
		if s.Waits && s.Container != nil {
			message = fmt.Sprintf("revision %d is kept until its update can take its place: %s", s.Revision, message)
		}
		return next.Failure.Reason, message, true
	}
	if s.Waits {
		return "", "", false
	}
	if f := s.Record.Failure; f != nil {
		return f.Reason, fmt.Sprintf("%s: %s", f.Verb, f.Message), true
	}
	if s.Container == nil && s.Over() && !s.Completed() {
		return ReasonContainerExited, s.Ended.words() + keptSo, true
	}
	if !s.Current() {
		return "", "", false
	}
	ended := s.Container.State.Ended()
	switch {
	case s.Completed():
		return "", "", false
	case ended && !Restarts(s.Service.RestartPolicy, s.Container.ExitCode):
		return ReasonContainerExited, endInWords(*s.Container) + keptSo, true
	case s.Loops() && !s.Settled():
		return ReasonCrashLoop, s.Record.LastEnd + ", at least twice in a row soon after its start", true
	case s.Health() == HealthUnhealthy:
		return ReasonUnhealthy, fmt.Sprintf("%d checks in a row failed: %s", s.Service.HealthCheck.Retries, s.Record.Health.Message), true
	}
	return "", "", false
}

const keptSo = ", and restartPolicy Never keeps it so"

func (e Ended) words() string {
	return endInWords(engine.Container{ExitCode: e.ExitCode, OOMKilled: e.OOMKilled})
}

// Pending gives the reason why a service that neither runs nor failed is not yet
// as it is wanted.
func (s Status) Pending() string {
	switch {
	case s.Waits:
		return ReasonReplacing
	case s.Container == nil:
		return ReasonCreating
	case !s.Current():
		return ReasonReplacing
	}
	return ReasonStarting
}
