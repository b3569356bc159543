package eventlog

import "encoding/json"

// Kinds of a run, the one attempt of a rollout to bring a target to the devices.
const (
	RunImmediate = "Immediate"
	RunUpdate    = "Update"
	RunRollback  = "Rollback"
	RunRestart   = "Restart"
)

// Rollout is the payload of the rollout events, version 2. Version 1 knew the first
// four fields, and Immediate alone.
type Rollout struct {
	Revision uint64 `json:"revision"`
	Strategy string `json:"strategy,omitempty"`
	Devices  int    `json:"devices,omitempty"` // that matched at that moment
	Reason   string `json:"reason,omitempty"`

	ScoreHash string `json:"score_hash,omitempty"` // of the run's target
	// Run is the sequence of the run's rollout.started; 0 in rollout.started itself.
	Run     uint64 `json:"run,omitempty"`
	Batch   int    `json:"batch,omitempty"` // from 1
	Message string `json:"message,omitempty"`
	// Request is the sequence of the request.made that this event answers.
	Request  uint64          `json:"request,omitempty"`
	Verb     string          `json:"verb,omitempty"` // of that request
	Full     bool            `json:"full,omitempty"` // of rollout.promoted: what is left is not judged
	Counts   *RolloutCounts  `json:"counts,omitempty"`
	Examples []DeviceExample `json:"examples,omitempty"` // at most 10
	Gate     *GateAnswer     `json:"gate,omitempty"`     // of rollout.gate_measured

	// Of rollout.started.
	Kind    string `json:"kind,omitempty"`
	Online  int    `json:"online,omitempty"`
	Restart uint64 `json:"restart,omitempty"` // how often the target was restarted
	From    uint64 `json:"from,omitempty"`    // the revision that a rollback goes away from
	// Score is the target's content, where that is not the spec's.
	Score   json.RawMessage `json:"score,omitempty"`
	Batches []PlannedBatch  `json:"batches,omitempty"`
	Shape   string          `json:"shape,omitempty"` // the sizes and pins that were planned
}

// RolloutCounts are a batch's devices as they were when it was judged.
type RolloutCounts struct {
	Given   int `json:"given"`
	Proven  int `json:"proven"`
	Bad     int `json:"bad"`
	Silent  int `json:"silent,omitempty"`
	Lost    int `json:"lost,omitempty"`
	Offline int `json:"offline,omitempty"`
	Waiting int `json:"waiting,omitempty"`
	Allowed int `json:"allowed"`
}

// DeviceExample is a device with what is wrong with it.
type DeviceExample struct {
	Device string `json:"device"`
	Reason string `json:"reason"`
	Error  string `json:"error,omitempty"`
}

// Verdicts of a gate's answer.
const (
	GatePass = "pass"
	GateFail = "fail"
	GateNone = "none" // the answer is no value
)

// GateAnswer is what a gate's server answered once.
type GateAnswer struct {
	Name    string   `json:"name"`
	Digest  string   `json:"digest"` // of the gate's definition
	Server  string   `json:"server"`
	Verdict string   `json:"verdict"`
	Value   *float64 `json:"value,omitempty"`
	Error   string   `json:"error,omitempty"` // why there is no value
	// Every is the time until the gate is asked again. Two answers that are further apart
	// than twice that are not one stretch.
	Every Duration `json:"every"`
}

// PlannedBatch is one batch as it was frozen when its run started.
type PlannedBatch struct {
	// Cut is the highest order of the batch's devices: a device whose order is at most
	// this, and that no earlier batch has, is in it. It is written as a string, for
	// JSON's numbers end at 2^53. The last batch has the highest number there is.
	Cut    uint64 `json:"cut,string"`
	Pinned bool   `json:"pinned,omitempty"` // the batch has those that its selector selects
	Size   int    `json:"size"`             // how many devices it had then
}

// Verbs of request.made about a Deployment's rollout.
const (
	RequestPause       = "pause"
	RequestResume      = "resume"
	RequestPromote     = "promote"
	RequestAbort       = "abort"
	RequestUndo        = "undo"
	RequestRetry       = "retry"        // try refused content again
	RequestRetryFailed = "retry-failed" // give the failed devices of the run another deadline
	RequestRestart     = "restart"
)

// RolloutVerbs lists the verbs of requests about a rollout.
func RolloutVerbs() []string {
	return []string{
		RequestPause, RequestResume, RequestPromote, RequestAbort, RequestUndo, RequestRetry, RequestRetryFailed, RequestRestart,
	}
}
