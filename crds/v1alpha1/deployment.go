package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Deployment says what should run on which devices. The fleet operator assigns
// its score to every Device whose labels its targetSelector matches; an agent
// on each device makes it so with Podman and reports back; the status counts
// what the devices report.
//
// Deleting a Deployment takes it off its devices. A device that is offline
// goes on running what it last had and follows when it is back.
//
// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=deployments,singular=deployment,shortName=fleetdep,categories=fleet,scope=Namespaced
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Rollout",type=string,JSONPath=`.status.rollout.phase`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.aggregate.matchedDeviceCount`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.aggregate.succeeded`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.aggregate.failed`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.aggregate.pending`
// +kubebuilder:printcolumn:name="Revision",type=integer,priority=1,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Batch",type=integer,priority=1,JSONPath=`.status.rollout.batch`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Last-Error",type=string,priority=1,JSONPath=`.status.aggregate.lastError.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Deployment struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What should run, and on which devices.
	// +required
	Spec DeploymentSpec `json:"spec"`

	// What the devices report, counted by the operator at most once a second. A new
	// object has observedGeneration -1 until the operator has looked at it, so that
	// what waits for it does not take it for done.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DeploymentStatus `json:"status,omitzero"`
}

// DeploymentList is a list of Deployments.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
type DeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Deployment `json:"items"`
}

// DeploymentSpec is what a person asks for.
type DeploymentSpec struct {
	// Which devices run this: those whose Device object carries labels that
	// match. An empty selector is refused, because it would mean every device,
	// now and later. To mean just that, say so:
	// `matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]`
	// (each Device carries that label, with its id as the value).
	// +required
	TargetSelector metav1.LabelSelector `json:"targetSelector"`

	// What runs on each of those devices.
	// +required
	Score ReconcileScore `json:"score"`

	// How a change reaches the devices. What is left out, the operator fills in: the
	// stored object keeps what its author said and no more.
	// +optional
	Rollout RolloutSpec `json:"rollout,omitzero"`
}

// DeploymentStatus is what the devices report, counted.
type DeploymentStatus struct {
	// The generation of the spec that this status speaks of. While it is lower
	// than metadata.generation, nothing here is about the newest spec.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// The number of the score's content in the event log: it rises by one each
	// time the content changes, and goes on through deletion and re-creation.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// How many devices match, and how they fare.
	// +optional
	Aggregate *DeploymentAggregate `json:"aggregate,omitempty"`

	// How far the newest rollout has got.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`

	// Why devices fail, the reason that most of them have first: 10 at most.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=10
	Failures []DeviceFailures `json:"failures,omitempty"`

	// Ready is True once the rollout of this spec is completed and each matching
	// device succeeded (reason AllSucceeded), or at least one did and the others are
	// all offline (OnlineSucceeded), or no device matches (NoDeviceMatches).
	// Otherwise it is False and the reason says why; Unknown when the spec has just
	// changed. Progressing says for a person how the rollout goes on. Reconciling and
	// Stalled say it for programs: at most one of them is True, and both are absent
	// where nothing is left to do.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// DeploymentAggregate counts devices: matchedDeviceCount is always succeeded +
// failed + pending.
type DeploymentAggregate struct {
	// How many devices the selector matches.
	// +required
	MatchedDeviceCount int32 `json:"matchedDeviceCount"`

	// How many run the current score as it asks: every service runs, is healthy
	// where it has a check, or has ended well where its restartPolicy lets it.
	// +required
	Succeeded int32 `json:"succeeded"`

	// How many report that a service of the current score can't be made so. They
	// go on trying.
	// +required
	Failed int32 `json:"failed"`

	// How many are neither: they haven't reported the current score, or are still
	// at work on it.
	// +required
	Pending int32 `json:"pending"`

	// The newest error that a matching device reports, absent when none does.
	// +optional
	LastError *DeviceError `json:"lastError,omitempty"`
}

// DeviceError is an error as one device reports it.
type DeviceError struct {
	// The device that reports it.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Device string `json:"device"`

	// Why, in one CamelCase word, such as ImagePullFailed.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Reason string `json:"reason,omitempty"`

	// What happened, for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// When, by the device's clock.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}
