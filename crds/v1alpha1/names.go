package v1alpha1

// LabelDevice is on every Device; its value is the device's own id. The
// operator puts it there, so that a selector can name one device, or mean all
// of them on purpose:
//
//	matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]
const LabelDevice = "fleet.nationtech.io/device"

// RestrictedLabelPrefix begins the label keys that are never taken from what a
// device reports; only a person or an enrolment sets them.
const RestrictedLabelPrefix = "restricted.fleet.nationtech.io/"

// FieldManagerOperator is the operator's name in managedFields.
const FieldManagerOperator = "fleet-operator"

// FinalizerWithdraw holds a Deployment that is being deleted until its desired
// state has been withdrawn from every device.
const FinalizerWithdraw = "fleet.nationtech.io/withdraw"

// FinalizerDevice holds a Device that is being deleted until the operator has
// acted: where AnnotationOnDelete says so, until the device is decommissioned in
// the event log.
const FinalizerDevice = "fleet.nationtech.io/device"

// AnnotationOnDelete on a Device says what its deletion means for the device. With
// OnDeleteDecommission it leaves the fleet, as by fleetctl device decommission.
// With anything else, or without it, the operator makes the Device again: the
// object only shows what the event log knows.
const (
	AnnotationOnDelete   = "fleet.nationtech.io/on-delete"
	OnDeleteDecommission = "decommission"
)

// MaxScoreBytes is the most that a score may weigh as JSON. It leaves room for
// the envelope in the log's maximum message of 256 KiB.
const MaxScoreBytes = 200 << 10

// AnnotationRequestedBy is on every Deployment of a cluster that serves
// MutatingAdmissionPolicies; its value is the user who last changed the spec, as
// the API server authenticated them. The policy alone writes it: what a client
// says there is not believed.
const AnnotationRequestedBy = "fleet.nationtech.io/requested-by"

// AnnotationAuthoredBy is stamped by the policy of that name: the user who last
// changed the score or the rollout, as the API server authenticated them.
const AnnotationAuthoredBy = "fleet.nationtech.io/authored-by"

// AnnotationTraceparent on a Deployment says to which trace its next change belongs, as
// the header traceparent of W3C Trace Context: a CI job writes its own there. A value is
// used for one change. What is no valid traceparent is ignored.
const AnnotationTraceparent = "fleet.nationtech.io/traceparent"

// AnnotationPromote on a Deployment lets its rollout go on after a batch, by
// "<revision>.<run>.<batch>" as status.rollout shows them. Where the batch has
// fourEyes, nothing else does. AnnotationPromotedBy is stamped by the policy of that
// name: the user who set it, who needs the verb promote on the Deployment.
const (
	AnnotationPromote    = "fleet.nationtech.io/promote"
	AnnotationPromotedBy = "fleet.nationtech.io/promoted-by"
)
