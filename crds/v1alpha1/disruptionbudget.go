package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// DisruptionBudget bounds how many devices may be down at a time, whichever
// Deployments change on them. A device is down while it is offline, or while
// something on it was changed and is not healthy yet, or fails.
//
// A rollout, a rollback and a withdrawal for labels wait where a device's budget is
// used up; what is down already does not. The deletion of a Deployment does not wait.
//
// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=disruptionbudgets,singular=disruptionbudget,shortName=fleetdb,categories=fleet,scope=Cluster
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Max-Unavailable",type=string,JSONPath=`.spec.maxUnavailable`
// +kubebuilder:printcolumn:name="Min-Available",type=string,JSONPath=`.spec.minAvailable`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`
// +kubebuilder:printcolumn:name="Down",type=integer,JSONPath=`.status.down`
// +kubebuilder:printcolumn:name="Remaining",type=integer,JSONPath=`.status.remaining`
// +kubebuilder:printcolumn:name="Blocked",type=integer,JSONPath=`.status.blocked`
// +kubebuilder:printcolumn:name="Groups",type=integer,priority=1,JSONPath=`.status.groups`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DisruptionBudget struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which devices share the budget, and how large it is.
	// +required
	Spec DisruptionBudgetSpec `json:"spec"`

	// How much of it is used, and who waits for it. A new object has observedGeneration
	// -1 until the operator has looked at it.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DisruptionBudgetStatus `json:"status,omitzero"`
}

// DisruptionBudgetList is a list of DisruptionBudgets.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
type DisruptionBudgetList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DisruptionBudget `json:"items"`
}

// DisruptionBudgetSpec is what a person asks for: a selector and one of
// maxUnavailable and minAvailable.
type DisruptionBudgetSpec struct {
	// Which devices share the budget: those whose Device object carries labels that
	// match. An empty selector is refused, as that of a Deployment is.
	// +required
	Selector metav1.LabelSelector `json:"selector"`

	// How many devices may be down at a time: a number, or a percentage, which rounds
	// up. With 0, nothing that is up is changed.
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

	// How many devices must be up: a number, or a percentage, which rounds up.
	// +optional
	MinAvailable *intstr.IntOrString `json:"minAvailable,omitempty"`

	// Label keys that divide the devices: those with the same values of them share a
	// budget of their own, as in [site]. A label that a device lacks counts as the
	// empty value. A percentage is one of the group.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=317
	GroupBy []string `json:"groupBy,omitempty"`
}

// DisruptionBudgetStatus is how much of a budget is used, counted by the operator at
// most once a second.
type DisruptionBudgetStatus struct {
	// The generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// How many devices the selector matches.
	// +optional
	Matched int32 `json:"matched"`

	// How many of them are down.
	// +optional
	Down int32 `json:"down"`

	// How many groups they form: 1 without groupBy.
	// +optional
	Groups int32 `json:"groups"`

	// How many devices may be down at a time in the tightest group: the one that has
	// the least left.
	// +optional
	Allowed int32 `json:"allowed"`

	// How many more devices may be changed there now.
	// +optional
	Remaining int32 `json:"remaining"`

	// The labels of the tightest group; absent without groupBy.
	// +optional
	// +kubebuilder:validation:MaxProperties=4
	TightestGroup map[string]string `json:"tightestGroup,omitempty"`

	// How many devices wait now because this budget is used up.
	// +optional
	Blocked int32 `json:"blocked"`

	// Some of the devices that wait, five at most.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:MaxLength=63
	BlockedDevices []string `json:"blockedDevices,omitempty"`

	// Ready is True while the budget holds. It is False where its spec cannot be used:
	// then it bounds nothing, and the reason says why.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
