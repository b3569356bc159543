package attention

import (
	"fmt"
	"slices"
	"time"
)

// Item is one thing that needs a person.
type Item struct {
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"severity"`
	// Namespace and Name are those of a Deployment; of a device, a DisruptionBudget or a
	// bucket there is a Name alone; both are empty where the item is about many, or about
	// the log, its servers or an operator.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Title says in a few words what is wrong, Reason in a sentence why.
	Title  string `json:"title"`
	Reason string `json:"reason"`
	// Command is what to run: it helps, or shows more.
	Command string `json:"command"`
	// Since is when it began by the log's clock; zero where that is not known.
	Since time.Time `json:"since,omitzero"`
	// Devices is how many devices it is about, Examples the first of their names.
	Devices  int      `json:"devices,omitempty"`
	Examples []string `json:"examples,omitempty"`
}

// Severity is how urgent an item is.
type Severity int

// The severities, the lightest first.
const (
	Notice   Severity = iota + 1 // it waits for a person, and nothing is broken
	Warning                      // something is broken, and will not mend itself
	Critical                     // the fleet cannot do its work, or a rollout broke devices
)

// String is the word for it.
func (s Severity) String() string {
	switch s {
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "unknown"
}

// MarshalText writes the word, which JSON has too.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, one := range []Severity{Notice, Warning, Critical} {
		if one.String() == string(b) {
			*s = one
			return nil
		}
	}
	return fmt.Errorf("%q is no severity: it is notice, warning or critical", b)
}

// Kind is what is wrong.
type Kind string

// The kinds, in the order in which items of one severity are listed.
const (
	LogFull             Kind = "LogFull"             // the log takes no more events, or soon will not
	BucketStalled       Kind = "BucketStalled"       // the servers do not keep a bucket
	CertificateExpiring Kind = "CertificateExpiring" // the NATS servers' certificate ends soon, or has ended
	OperatorBehind      Kind = "OperatorBehind"      // an operator has not folded what the log has
	OperatorSilent      Kind = "OperatorSilent"      // no operator answers, or a request of a person is unanswered for RequestPatience
	RolloutPaused       Kind = "RolloutPaused"       // a run is paused, not by a person
	RolloutEnded        Kind = "RolloutEnded"        // the newest content was rolled back or aborted
	RolloutStalled      Kind = "RolloutStalled"      // the open batch does not get on
	DuplicateIdentity   Kind = "DuplicateIdentity"   // two machines report as one device
	Flood               Kind = "Flood"               // a device writes more than its budget
	DevicesFailing      Kind = "DevicesFailing"      // devices report that a Deployment failed
	DevicesSilent       Kind = "DevicesSilent"       // devices are online, and a Deployment is past its deadline there
	Offline             Kind = "Offline"             // a device is offline for longer than it used to be
	SpecRefused         Kind = "SpecRefused"         // the newest spec is not in the log
	ValueMissing        Kind = "ValueMissing"        // a score cannot be filled in for devices
	DependencyCycle     Kind = "DependencyCycle"     // a Deployment depends on itself
	NameConflict        Kind = "NameConflict"        // another Deployment holds the name on devices
	Orphaned            Kind = "Orphaned"            // the log has a Deployment or a DisruptionBudget, and Kubernetes has not
	BudgetInvalid       Kind = "BudgetInvalid"       // a DisruptionBudget bounds nothing
	Unknown             Kind = "Unknown"             // a device reports what was never assigned to it
	KeyExpiring         Kind = "KeyExpiring"         // a device's key ends soon, or has ended
	Approval            Kind = "Approval"            // a batch waits for a person
	Held                Kind = "Held"                // a person or the spec holds a rollout
)

var kinds = []Kind{
	LogFull, BucketStalled, CertificateExpiring, OperatorBehind, OperatorSilent, RolloutPaused, RolloutEnded, RolloutStalled, DuplicateIdentity, Flood, DevicesFailing, DevicesSilent,
	Offline, SpecRefused, ValueMissing, DependencyCycle, NameConflict, Orphaned, BudgetInvalid, Unknown, KeyExpiring, Approval, Held,
}

// Kinds lists all kinds, in the order in which items of one severity are listed.
func Kinds() []Kind { return slices.Clone(kinds) }
