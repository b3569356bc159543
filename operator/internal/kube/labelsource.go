package kube

// LabelSource says which labels of a Device select.
type LabelSource string

const (
	// LabelsReported means that what the agent reports selects, and what a person sets.
	LabelsReported LabelSource = "reported"
	// LabelsRegistered means that only what a person or an enrolment set selects. A stolen
	// key must not be able to choose what it is sent.
	LabelsRegistered LabelSource = "registered"
)
