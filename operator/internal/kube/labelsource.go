package kube

// LabelSource says which labels of a Device select.
type LabelSource string

const (
	// LabelsReported: what the agent reports selects, and what a person sets.
	LabelsReported LabelSource = "reported"
	// LabelsRegistered: only what a person or an enrolment set selects. A stolen
	// key must not be able to choose what it is sent.
	LabelsRegistered LabelSource = "registered"
)
