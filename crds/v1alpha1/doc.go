// Package v1alpha1 holds the API types of group fleet.nationtech.io, version
// v1alpha1: Deployment, which says what should run on which devices; Device,
// which shows a device and what labels it can be selected by; and
// DisruptionBudget, which bounds how many devices may be down at a time.
//
// The comments on types and fields are what `kubectl explain` prints, so they
// are written for the person who applies a manifest.
//
// +k8s:deepcopy-gen=package
// +groupName=fleet.nationtech.io
// +groupGoName=Fleet
// +kubebuilder:object:generate=true
package v1alpha1
