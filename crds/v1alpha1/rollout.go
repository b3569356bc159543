package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// RolloutStrategy names a way for a change to reach the devices.
// +kubebuilder:validation:Enum=Batched;Immediate
type RolloutStrategy string

const (
	// RolloutBatched gives a change to one batch of devices after the other.
	RolloutBatched RolloutStrategy = "Batched"
	// RolloutImmediate gives a change to every matching device at once.
	RolloutImmediate RolloutStrategy = "Immediate"
)

// RolloutSpec says how a change reaches the devices. Nothing in it has a default in
// the schema: the API server would store that in every object, and no other default
// could ever reach it.
type RolloutSpec struct {
	// Batched gives a change to one batch of devices after the other, and goes on when
	// those of a batch have proven it. Immediate gives it to every matching device at
	// once and judges nothing. Where the spec says no strategy, the operator chooses.
	// +optional
	Strategy RolloutStrategy `json:"strategy,omitempty"`

	// The batches, in order. A batch has a size or a selector; the last one may have
	// neither, as it takes the rest, and is added where it is left out. By default
	// 1% of the devices, then 10%, then the rest.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Batches []RolloutBatch `json:"batches,omitempty"`

	// How many of a batch's devices must succeed for it to succeed, as in "95%" (the
	// default). Of fewer than 20 devices, 95% means each.
	// +optional
	SuccessThreshold string `json:"successThreshold,omitempty"`

	// How many devices of this Deployment may be unavailable through the rollout at a
	// time: a number, or a percentage of the matching ones, which rounds up. By
	// default "10%".
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

	// How long each device may take, from when the change was assigned to it, such
	// as "10m" (the default). What it waits for before that does not count.
	// +optional
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`

	// Skip (the default) goes on without the devices that are offline: they are given
	// the change when they are back. Wait does not judge a batch while a device of it
	// is offline, for one progressDeadline; then the rollout pauses.
	// +optional
	// +kubebuilder:validation:Enum=Skip;Wait
	OfflineDevices string `json:"offlineDevices,omitempty"`

	// What happens when a batch fails. Pause (the default) leaves the devices as they
	// are and waits for a person; Rollback gives them back what ran before; Continue
	// goes on with the next batch.
	// +optional
	// +kubebuilder:validation:Enum=Pause;Rollback;Continue
	OnFailure string `json:"onFailure,omitempty"`

	// While true, no device is given anything else than it has.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Deployments of the same namespace that must be healthy on a device before this
	// one is given to it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	DependsOn []string `json:"dependsOn,omitempty"`

	// When devices may be given a change: outside of these, what a device runs is not
	// replaced and no further batch begins. What was given is judged all the same. A
	// rollback, the mending of a device on which this Deployment is broken, and a device
	// that has nothing of it yet do not wait. By default, always.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Windows []RolloutWindow `json:"windows,omitempty"`

	// How many devices are given the change in how much time, devices that have nothing of
	// this Deployment yet included. A rollback does not keep to it. By default, as many as
	// the batches and budgets allow.
	// +optional
	Rate *RolloutRate `json:"rate,omitempty"`
}

// RolloutRate is how many devices are given a change in how much time.
type RolloutRate struct {
	// How many devices. They are spread over the time: of 60 in a minute, one a second.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Devices int32 `json:"devices"`

	// In how much time, such as "1m" (the default).
	// +optional
	Per *metav1.Duration `json:"per,omitempty"`

	// Lets the rate grow while devices succeed.
	// +optional
	Increase *RolloutRateIncrease `json:"increase,omitempty"`
}

// RolloutRateIncrease lets a rate grow while devices succeed.
type RolloutRateIncrease struct {
	// Each time so many more devices of the rollout run the change, the rate grows.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	AfterSucceeded int32 `json:"afterSucceeded"`

	// By how many percent: 100 doubles it.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Percent int32 `json:"percent"`

	// Up to how many devices.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxDevices int32 `json:"maxDevices,omitempty"`
}

// RolloutWindow is a maintenance window.
type RolloutWindow struct {
	// When it opens, as a cron schedule: minute, hour, day of the month, month, day of
	// the week, such as "0 22 * * 1-5"; or @hourly, @daily, @weekly, @monthly, @yearly.
	// A start that a change of clocks skips is at the next minute that there is; one
	// that comes twice counts once.
	// +required
	Schedule string `json:"schedule"`

	// In whose time the schedule is, such as "Europe/Paris". By default "UTC".
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// For how long it is open after each start, such as "4h".
	// +required
	Duration metav1.Duration `json:"duration"`
}

// RolloutBatch is one batch of a rollout.
type RolloutBatch struct {
	// How many devices have the change once this batch is through, those of earlier
	// batches included: a number, or a percentage of the devices that match and are
	// online when the rollout starts, which rounds up.
	// +optional
	Size *intstr.IntOrString `json:"size,omitempty"`

	// The batch has the matching devices whose labels this selects, such as canaries.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// How long a device must be healthy and online to prove the change, such as "5m"
	// (the default; of the last batch "1m").
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`

	// Automatic (the default) goes on to the next batch when this one has succeeded.
	// Manual waits until a person says so, by fleetctl rollout promote.
	// +optional
	// +kubebuilder:validation:Enum=Automatic;Manual
	Approval string `json:"approval,omitempty"`

	// With approval Manual: somebody else than the author of the change must let it
	// go on.
	// +optional
	FourEyes bool `json:"fourEyes,omitempty"`

	// Questions that must be answered well before the batch succeeds. They are asked once
	// its devices are through.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	Gates []RolloutGate `json:"gates,omitempty"`
}

// RolloutGate is a question that must be answered well before a batch succeeds.
type RolloutGate struct {
	// What people call it, such as error-rate.
	// +required
	Name string `json:"name"`

	// Asks a Prometheus server.
	// +required
	Prometheus PrometheusGate `json:"prometheus"`
}

// PrometheusGate asks a Prometheus server for one number.
type PrometheusGate struct {
	// Which server, by the name that the operator was given for it: --prometheus name=URL.
	// +required
	Server string `json:"server"`

	// A query in PromQL that gives exactly one sample, such as
	// sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])).
	// +required
	Query string `json:"query"`

	// The highest value that lets the batch go on, such as "0.05".
	// +optional
	Max string `json:"max,omitempty"`

	// The lowest value that lets the batch go on.
	// +optional
	Min string `json:"min,omitempty"`

	// For how long the answers must be so, such as "1m" (the default).
	// +optional
	For *metav1.Duration `json:"for,omitempty"`
}

// RolloutPhase is how far a rollout has got.
type RolloutPhase string

const (
	// RolloutProgressing means that the change is on its way to the devices.
	RolloutProgressing RolloutPhase = "Progressing"
	// RolloutCompleted means that the last batch succeeded, or nobody matches.
	RolloutCompleted RolloutPhase = "Completed"
	// RolloutPaused means that nothing goes on until a person decides.
	RolloutPaused RolloutPhase = "Paused"
	// RolloutRollingBack means that the devices are given back what ran before.
	RolloutRollingBack RolloutPhase = "RollingBack"
	// RolloutRolledBack means that every device that could be reached runs what ran
	// before; the spec's content is not tried again.
	RolloutRolledBack RolloutPhase = "RolledBack"
	// RolloutAborted means that a person ended the rollout; devices keep what they have.
	RolloutAborted RolloutPhase = "Aborted"
)

// RolloutStatus is how far the newest rollout has got. A matching device is in one
// of six standings, so their numbers add up to the devices that match.
type RolloutStatus struct {
	// The strategy in use.
	// +optional
	Strategy RolloutStrategy `json:"strategy,omitempty"`

	// Progressing, Completed, Paused, RollingBack, RolledBack or Aborted.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Phase RolloutPhase `json:"phase,omitempty"`

	// What the rollout does: Update, Immediate, Rollback or Restart.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind,omitempty"`

	// The revision that the rollout brings to the devices. After a rollback it is not
	// the spec's.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// The rollout's id: the place of its beginning in the event log.
	// +optional
	Run int64 `json:"run,omitempty"`

	// The batch that is open, from 1.
	// +optional
	Batch int32 `json:"batch,omitempty"`

	// How many batches there are.
	// +optional
	Batches int32 `json:"batches,omitempty"`

	// Why it is in this phase or what it waits for, in one CamelCase word.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Reason string `json:"reason,omitempty"`

	// The same, for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// spec.rollout.paused holds the rollout.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// A person holds the rollout, by fleetctl rollout pause, until one resumes it.
	// +optional
	Held bool `json:"held,omitempty"`

	// Devices that run the rollout's revision and are healthy.
	// +required
	Healthy int32 `json:"healthy"`

	// Devices that are not given it as things stand: another Deployment of that name
	// holds the place, a Deployment that it depends on is not assigned there, they have no
	// Device object, or a label that the score names.
	// +required
	Skipped int32 `json:"skipped"`

	// Why devices are skipped, the most frequent reason first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Skips []DeviceFailures `json:"skips,omitempty"`

	// Devices that were given it and failed, stayed silent past the deadline, or went
	// offline over it.
	// +required
	Failed int32 `json:"failed"`

	// Other devices that are offline. They are given it when they are back.
	// +required
	Offline int32 `json:"offline"`

	// Devices that were given it and are at work on it.
	// +required
	Updating int32 `json:"updating"`

	// Devices that are not given it yet.
	// +required
	Waiting int32 `json:"waiting"`

	// How many matching devices reported the current score, however they fare. This
	// overlaps with the standings.
	// +optional
	UpdatedDeviceCount int32 `json:"updatedDeviceCount,omitempty"`

	// When the rollout started.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
}

// DeviceFailures counts the devices that fail, or are skipped, for one reason.
type DeviceFailures struct {
	// Why, in one CamelCase word, such as ImagePullFailed.
	// +required
	// +kubebuilder:validation:MaxLength=128
	Reason string `json:"reason"`

	// How many devices there are for this reason.
	// +required
	Count int32 `json:"count"`

	// Some of them, three at most.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:MaxLength=63
	Devices []string `json:"devices,omitempty"`
}
