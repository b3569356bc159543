package rollout

import (
	"time"

	"fleet.nationtech.io/projections/template"
)

// WaitKind is what a device waits for.
type WaitKind string

// What a device can wait for. Each names the first thing only: what comes after that is
// not known before.
const (
	WaitNothing        WaitKind = ""                     // it has what it should have
	WaitNameConflict   WaitKind = "NameConflict"         // another Deployment of the name holds the device
	WaitNoDevice       WaitKind = "NoDeviceObject"       // there is no Device object that the selector could match
	WaitRefused        WaitKind = "Refused"              // the content is not tried again
	WaitHold           WaitKind = "Hold"                 // a person paused the Deployment
	WaitSpecPaused     WaitKind = "SpecPaused"           // spec.rollout.paused is true
	WaitPaused         WaitKind = "Paused"               // the run is paused
	WaitBatch          WaitKind = "Batch"                // an earlier batch is open
	WaitSoak           WaitKind = "Soak"                 // devices have yet to prove that they run well
	WaitApproval       WaitKind = "Approval"             // a person has to let the run go on
	WaitDependency     WaitKind = "Dependency"           // a Deployment that it depends on is not healthy there
	WaitValue          WaitKind = template.ReasonMissing // it has no value for a place that is filled in
	WaitValueInvalid   WaitKind = template.ReasonInvalid // what is filled in for it makes a score that it would refuse
	WaitOffline        WaitKind = "Offline"              // the device is offline
	WaitMaxUnavailable WaitKind = "MaxUnavailable"       // as many devices as may be are unavailable through the rollout
	WaitBudget         WaitKind = "DisruptionBudget"
	WaitWindow         WaitKind = "Window" // no window of spec.rollout.windows is open
	WaitRate           WaitKind = "Rate"   // spec.rollout.rate lets nothing be given at the moment
	WaitGate           WaitKind = "Gate"   // a gate of the open batch does not hold
	WaitReport         WaitKind = "Report" // it was given the target, and does not run it well
	WaitOperator       WaitKind = "Operator"
)

// maxNamed is how many devices a Wait names.
const maxNamed = 10

// Wait is the first thing that a device waits for in a Deployment's rollout.
type Wait struct {
	Kind WaitKind `json:"kind,omitempty"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Batch is the device's, Open the one that is open, of Batches; from 1.
	Batch   int `json:"batch,omitempty"`
	Open    int `json:"open,omitempty"`
	Batches int `json:"batches,omitempty"`
	// Revision is that of the run's target.
	Revision uint64 `json:"revision,omitempty"`
	// Until is when it ends if nothing else happens; nil: nobody knows.
	Until *time.Time `json:"until,omitempty"`
	// Name is the Deployment, the DisruptionBudget or the label that it waits for, Group the group
	// of that budget, Devices the first of the devices that it waits for.
	Name    string   `json:"name,omitempty"`
	Group   string   `json:"group,omitempty"`
	Devices []string `json:"devices,omitempty"`
	// Sequence is the event that began it, where one did.
	Sequence uint64 `json:"sequence,omitempty"`
}

func (w *Wait) name(device string) {
	if len(w.Devices) < maxNamed {
		w.Devices = append(w.Devices, device)
	}
}
