package engine

import (
	"errors"
	"time"
)

// Class tells what may help after an error.
type Class int

// The classes.
const (
	ClassRetry       Class = iota // again soon: the network, a race, a port in use
	ClassRetrySlowly              // somebody must act elsewhere: no such image, no access
	ClassRetryLate                // the other side asked us to stay away: too many requests
	ClassChange                   // not until the score changes: nothing else can mend it
	ClassAway                     // the engine itself is not there
)

// Reasons, the same in the state, the event and the metric.
const (
	ReasonImagePullFailed   = "ImagePullFailed"   // the registry cannot be reached or has trouble
	ReasonImageNotFound     = "ImageNotFound"     // the registry has no such image or tag
	ReasonImageAccessDenied = "ImageAccessDenied" // the registry wants other credentials
	ReasonImageRateLimited  = "ImageRateLimited"  // the registry says: too many requests
	ReasonImageNotPresent   = "ImageNotPresent"   // pullPolicy Never, or gone since the pull
	ReasonInvalidImage      = "InvalidImage"      // no registry could serve this reference as it is
	ReasonPortInUse         = "PortInUse"         // another process listens on the host port
	ReasonNameTaken         = "NameTaken"         // a container that is not ours has the name
	ReasonInvalidContainer  = "InvalidContainer"  // the engine refuses what the service asks for
	ReasonContainerGone     = "ContainerGone"     // removed between observing and acting
	ReasonForeignContainer  = "ForeignContainer"  // it has the fleet's labels, and somebody else made it
	ReasonCreateFailed      = "CreateFailed"
	ReasonStartFailed       = "StartFailed"
	ReasonStopFailed        = "StopFailed"
	ReasonRemoveFailed      = "RemoveFailed"
	ReasonExecFailed        = "ExecFailed"
	ReasonEngineAway        = "PodmanUnavailable"
	ReasonObserveFailed     = "ObserveFailed"
)

// Error is an engine's error with what may be done about it.
type Error struct {
	Class  Class
	Reason string
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// AsError gives the *Error in err; an error without one is to be retried, with
// the reason given.
func AsError(err error, reason string) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Class: ClassRetry, Reason: reason, Err: err}
}

// Delay is the time to wait after the n-th failure in a row (from 1) until the
// next try. What others than the author of the score can mend is tried again
// within half an hour: nobody tells the agent that it was mended.
func (c Class) Delay(n int) time.Duration {
	switch c {
	case ClassRetrySlowly:
		return doubled(30*time.Second, n, 10*time.Minute)
	case ClassRetryLate:
		return doubled(10*time.Minute, n, 30*time.Minute)
	case ClassChange:
		// A changed score is seen at once; this is for an engine that was mistaken.
		return time.Hour
	case ClassAway:
		return doubled(time.Second, n, 10*time.Second)
	default:
		return doubled(time.Second, n, 5*time.Minute)
	}
}

// CrashDelay is the time between the n-th crash in a row (from 1) and the next
// start: 1 s, 2 s, 4 s, …, at most 5 min.
func CrashDelay(n int) time.Duration { return doubled(time.Second, n, 5*time.Minute) }

func doubled(base time.Duration, n int, most time.Duration) time.Duration {
	for ; n > 1 && base < most; n-- {
		base *= 2
	}
	return min(base, most)
}
