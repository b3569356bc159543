package decide

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// State is all that a decision looks at: the fold of the log, and what the
// Kubernetes API says now. It is not safe for concurrent use; its owner holds
// the fold's lock.
type State struct {
	view *fleet.View

	specs   map[fleet.Key]Spec
	byName  map[string]map[fleet.Key]struct{}
	decided map[fleet.Key]bool // the CR, as it is here, was decided about: true where nothing more was due
	failed  map[Input]Problem  // the last decision about it failed, and why
	devices map[string]*deviceLabels
	leaving map[string]bool // Devices whose deletion takes the device out of the fleet
	budgets map[string]BudgetSpec
	// budgetsDeleted are DisruptionBudgets whose deletion was seen.
	budgetsDeleted map[string]struct{}

	byLabel   deviceIndex
	selectors selectorIndex

	// What follows from all that, kept by what changes: see placement.
	changes       *fleet.Changes
	placements    map[fleet.Key]*placement
	leavers       map[fleet.Key]map[string]struct{} // devices that leave Deployments which are not placed
	placesOf      map[string]*place                 // the first of a device; each knows the next
	stale         map[fleet.Key]struct{}            // Deployments to look at
	moved         map[string]bool                   // devices to look at; true: their labels changed
	round         uint64                            // counts refreshes
	stirred       map[*placement]struct{}           // those that devices came to or left, or whose dependencies changed: somebody has to ask about them
	ended         map[fleet.Key]ended               // what is not placed, as others that depend on it saw it last
	outs          map[string]bool                   // devices that were out of the fleet when they were last looked at
	ledgers       map[string]*budgetLedger
	budgetChanges uint64
	eased         map[*budgetGroup]struct{} // groups which may have room again for what waits for them
	spent         []*budgetGroup            // by the present call of Release
	concerned     []*placement              // memory of move

	clock    clock
	duesAt   time.Time // the moment up to which the due queues were emptied
	tracing  bool
	restored uint64 // the log was restored, and held this much; 0: it was not, or the devices are answered
}

// NewState makes a state over a view that the caller folds.
func NewState(v *fleet.View) *State {
	s := &State{
		view: v, changes: v.Watch(), placements: map[fleet.Key]*placement{}, placesOf: make(map[string]*place, len(v.Devices)), leavers: map[fleet.Key]map[string]struct{}{},
		stale: map[fleet.Key]struct{}{}, moved: make(map[string]bool, len(v.Devices)), stirred: map[*placement]struct{}{}, ended: map[fleet.Key]ended{}, outs: map[string]bool{}, ledgers: map[string]*budgetLedger{}, eased: map[*budgetGroup]struct{}{},

		specs:   map[fleet.Key]Spec{},
		byName:  map[string]map[fleet.Key]struct{}{},
		decided: map[fleet.Key]bool{},
		failed:  map[Input]Problem{},
		devices: make(map[string]*deviceLabels, len(v.Devices)),
		leaving: map[string]bool{},
		budgets: map[string]BudgetSpec{}, budgetsDeleted: map[string]struct{}{},
		byLabel:   deviceIndex{},
		selectors: newSelectorIndex(),
	}
	s.noteLeavers()
	return s
}

// Restored notes that the log was restored from an archive which held that many
// events; 0: what follows from the cluster is decided, and devices are answered.
func (s *State) Restored(sequence uint64) { s.restored = sequence }

// View is the fold that decisions look at.
func (s *State) View() *fleet.View { return s.view }

// SetView puts another view in its place: the log was folded from the beginning.
func (s *State) SetView(v *fleet.View) {
	s.view, s.changes = v, v.Watch()
	clear(s.placements)
	clear(s.placesOf)
	clear(s.outs)
	clear(s.stirred)
	clear(s.ended)
	s.noteLeavers()
	for _, b := range s.ledgers {
		clear(b.groups)
		clear(b.devices)
		clear(b.blocked)
	}
	clear(s.eased)
	s.clock, s.restored, s.duesAt = clock{}, 0, time.Time{}
	for key := range s.specs {
		s.stale[key] = struct{}{}
	}
	for id := range s.devices {
		s.noteMoved(id)
	}
	clear(s.decided)
	clear(s.failed)
}

// SetDeployment notes a CR as the API shows it now.
func (s *State) SetDeployment(spec Spec) {
	s.RemoveDeployment(spec.Key)
	spec.selects = spec.Selector.String()
	s.specs[spec.Key] = spec
	if s.byName[spec.Key.Name] == nil {
		s.byName[spec.Key.Name] = map[fleet.Key]struct{}{}
	}
	s.byName[spec.Key.Name][spec.Key] = struct{}{}
	if !spec.Deleting {
		s.selectors.put(spec.Key, spec.Selector)
	}
	s.stale[spec.Key] = struct{}{}
}

// RemoveDeployment notes that a CR is not there.
func (s *State) RemoveDeployment(key fleet.Key) {
	old, ok := s.specs[key]
	if !ok {
		return
	}
	s.selectors.drop(key, old.Selector)
	s.stale[key] = struct{}{}
	delete(s.specs, key)
	delete(s.decided, key)
	delete(s.failed, OfDeployment(key))
	delete(s.byName[key.Name], key)
	if len(s.byName[key.Name]) == 0 {
		delete(s.byName, key.Name)
	}
}

// Deployment gives a CR's spec.
func (s *State) Deployment(key fleet.Key) (Spec, bool) {
	spec, ok := s.specs[key]
	return spec, ok
}

// Deployments iterates over the keys of all CRs.
func (s *State) Deployments(yield func(fleet.Key) bool) {
	for k := range s.specs {
		if !yield(k) {
			return
		}
	}
}

// SetDevice notes a Device CR's labels with their owners. It says whether they
// changed.
func (s *State) SetDevice(id string, owned map[string]eventlog.OwnedLabel) bool {
	old, ok := s.devices[id]
	if ok && maps.Equal(old.owned, owned) {
		return false
	}
	if ok {
		s.byLabel.drop(id, old)
	}
	delete(s.failed, OfDevice(id))
	set := make(labels.Set, len(owned))
	for k, l := range owned {
		set[k] = l.Value
	}
	ls := &deviceLabels{set: set, owned: owned}
	s.devices[id] = ls
	s.byLabel.put(id, ls)
	s.moved[id] = true
	return true
}

// RemoveDevice notes that a Device CR is not there. What runs on the device is
// then left as it is: absence never withdraws.
func (s *State) RemoveDevice(id string) {
	delete(s.leaving, id)
	if old, ok := s.devices[id]; ok {
		s.byLabel.drop(id, old)
		delete(s.devices, id)
		delete(s.failed, OfDevice(id))
		s.noteMoved(id)
	}
}

// Placed says whether all that a Deployment's present spec asks for now is in the log:
// what matches is given what it should have, and all else withdrawn.
func (s *State) Placed(key fleet.Key) bool {
	pl := s.placementOf(key)
	return pl != nil && s.current(s.specs[key]) && pl.phase.log.Run.Phase != fleet.PhaseNone && !pl.owes()
}

// MarkDecided notes that a Deployment was decided about, and whether nothing more
// was due. A decision that failed is none: see MarkFailed.
func (s *State) MarkDecided(key fleet.Key, settled bool) {
	if _, ok := s.specs[key]; ok {
		s.decided[key] = settled
	}
}

// Decided says whether a Deployment was decided about since its CR changed. Before,
// that it is not placed says nothing: nobody has looked.
func (s *State) Decided(key fleet.Key) bool {
	_, ok := s.decided[key]
	return ok
}

// Conflict names another Deployment that holds this one's name on devices that
// this one matches, and counts them. Zero devices: no conflict.
func (s *State) Conflict(key fleet.Key) (holder fleet.Key, devices int) {
	spec, ok := s.specs[key]
	if !ok || spec.Deleting || spec.Problem != nil {
		return fleet.Key{}, 0
	}
	if !s.heldElsewhere(key) {
		return fleet.Key{}, 0
	}
	for id := range s.matching(spec.Selector) {
		if p := s.pair(id, key.Name); p != nil && p.Assigned() && p.Deployment.Key != key {
			if devices == 0 || p.Deployment.Key.Namespace < holder.Namespace {
				holder = p.Deployment.Key
			}
			devices++
		}
	}
	return holder, devices
}

// heldElsewhere is the cheap question before the dear one: is there another
// Deployment of the name, as a CR or in the log?
func (s *State) heldElsewhere(key fleet.Key) bool {
	if len(s.byName[key.Name]) > 1 {
		return true
	}
	for _, d := range s.view.Named(key.Name) {
		if d.Key != key && d.Counts.Matched > 0 {
			return true
		}
	}
	return false
}

// Ended says whether a Deployment that is being deleted is withdrawn from every
// device, in the log: its finalizer may go. That nothing of it is in the log is not
// enough: what was decided before the deletion was seen may be on its way there.
func (s *State) Ended(key fleet.Key) bool {
	if spec, ok := s.specs[key]; !ok || !spec.Deleting || !s.decided[key] {
		return false
	}
	d, ok := s.view.Deployments[key]
	return !ok || (d.Lifecycle == fleet.Deleted || d.Lifecycle == "") && d.Counts.Matched == 0
}

// current says whether the log has the spec as the API shows it, and why.
func (s *State) current(spec Spec) bool {
	d := s.view.Deployments[spec.Key]
	return same(d, spec) && d.Spec.ChangeCause == spec.ChangeCause && d.Refused == nil
}

// same says whether the log has the spec as the API shows it.
func same(d *fleet.Deployment, spec Spec) bool {
	return d != nil && d.Lifecycle == fleet.Applied && d.Spec.Generation == spec.Generation &&
		d.Spec.UID == spec.UID && d.Spec.ScoreHash == spec.Hash
}

func (s *State) pair(device, name string) *fleet.Assignment {
	if d := s.view.Devices[device]; d != nil {
		return d.Pair(name)
	}
	return nil
}
