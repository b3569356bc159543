package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Device shows one device of the fleet. The operator creates it when the
// device's agent first reports, and keeps it; a person adds labels to it.
//
// The labels of this object are what a Deployment's targetSelector matches.
// They come from two sources: what the agent reports, and what a person sets
// with kubectl. On one key the person's value wins; when the person removes
// theirs, the reported one comes back. `fleet.nationtech.io/device` is always
// there and holds the device's id.
//
// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=devices,singular=device,shortName=fleetdev,categories=fleet,scope=Cluster
// +kubebuilder:printcolumn:name="Online",type=string,JSONPath=`.status.conditions[?(@.type=="Online")].status`
// +kubebuilder:printcolumn:name="Agent",type=string,JSONPath=`.status.agentVersion`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.deployments.running`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.deployments.failed`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.deployments.pending`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Online")].reason`
// +kubebuilder:printcolumn:name="Since",type=date,priority=1,JSONPath=`.status.conditions[?(@.type=="Online")].lastTransitionTime`
// +kubebuilder:printcolumn:name="Arch",type=string,priority=1,JSONPath=`.spec.inventory.arch`
// +kubebuilder:printcolumn:name="OS",type=string,priority=1,JSONPath=`.spec.inventory.os`
// +kubebuilder:printcolumn:name="Podman",type=string,priority=1,JSONPath=`.spec.inventory.podmanVersion`
// +kubebuilder:printcolumn:name="Labels",type=string,priority=1,JSONPath=`.metadata.labels`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Device struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the device is, as its agent last reported it.
	// +optional
	Spec DeviceSpec `json:"spec,omitzero"`

	// How the device fares. Written when something changes, not at each pulse.
	// +optional
	Status DeviceStatus `json:"status,omitzero"`
}

// DeviceList is a list of Devices.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
type DeviceList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Device `json:"items"`
}

// DeviceSpec is what the device is. The operator writes it.
type DeviceSpec struct {
	// Hardware and software, as the agent last reported them.
	// +optional
	Inventory *InventorySnapshot `json:"inventory,omitempty"`
}

// InventorySnapshot is a device's hardware and software at one moment.
type InventorySnapshot struct {
	// The machine's own host name.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Hostname string `json:"hostname,omitempty"`

	// Processor architecture in Go's words: amd64, arm64, arm, riscv64.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Arch string `json:"arch,omitempty"`

	// Operating system, such as "Debian GNU/Linux 12 (bookworm)".
	// +optional
	// +kubebuilder:validation:MaxLength=256
	OS string `json:"os,omitempty"`

	// Kernel release, as uname -r prints it.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Kernel string `json:"kernel,omitempty"`

	// Number of processor cores.
	// +optional
	CPUCores int32 `json:"cpuCores,omitempty"`

	// Memory in MiB.
	// +optional
	MemoryMB int64 `json:"memoryMB,omitempty"`

	// Version of the agent that reported this.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AgentVersion string `json:"agentVersion,omitempty"`

	// Version of the Podman that the agent drives, or the name of the engine
	// that stands in for it.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	PodmanVersion string `json:"podmanVersion,omitempty"`
}

// DeviceStatus is how a device fares.
type DeviceStatus struct {
	// The generation of this object that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Version of the agent that runs on the device.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AgentVersion string `json:"agentVersion,omitempty"`

	// The labels that the agent reports, whether or not they select.
	// +optional
	// +kubebuilder:validation:MaxProperties=128
	ReportedLabels map[string]string `json:"reportedLabels,omitempty"`

	// Reported labels that don't select, because somebody else holds the key.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MaxItems=128
	LabelConflicts []LabelConflict `json:"labelConflicts,omitempty"`

	// How many Deployments the device is assigned, by their phase on it.
	// +optional
	Deployments *DeviceDeployments `json:"deployments,omitempty"`

	// Online is True while the device's pulse is heard, False when it has been
	// silent for three intervals. DuplicateIdentity is True when two machines
	// report under this one id.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// LabelConflict is a label that the device reports with a value that it
// doesn't get, because somebody else holds the key.
type LabelConflict struct {
	// The label's key.
	// +required
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`

	// The value that the device reports.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Reported string `json:"reported,omitempty"`

	// The value that holds.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Kept string `json:"kept,omitempty"`

	// Who holds the key: a field manager as in metadata.managedFields.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Manager string `json:"manager,omitempty"`
}

// DeviceDeployments counts a device's Deployments: total is always running +
// failed + pending.
type DeviceDeployments struct {
	// How many are assigned to the device.
	// +required
	Total int32 `json:"total"`

	// How many run as their scores ask.
	// +required
	Running int32 `json:"running"`

	// How many the device can't make so. It goes on trying.
	// +required
	Failed int32 `json:"failed"`

	// How many are neither yet.
	// +required
	Pending int32 `json:"pending"`
}
