package migration

import (
	"cmp"
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// ReasonNoDevice ends a Deployment that an import applied: its source gives it to no
// device any more.
const ReasonNoDevice = "NoDevice"

// applyDeployments plans deployment.applied for each score that devices have of a
// Deployment, before anything is assigned: the content that the source gave to a device
// last is the newest revision. The Deployments that imports brought into the log are
// looked at again, whatever the source has of them by now: each is to select the devices
// that have it, and no others.
func (p *planner) applyDeployments(items []item) {
	members := map[fleet.Key]map[string]bool{}
	for _, it := range items {
		if it.Bucket != eventlog.BucketDesired || p.decidedOtherwise(it) {
			continue
		}
		if it.Deleted {
			p.withdrawn[it.subject] = true
			continue
		}
		key := p.key(it)
		if members[key] == nil {
			members[key] = map[string]bool{}
		}
		members[key][it.device] = true
		p.note(key, it)
	}
	for key, log := range p.target.View.Deployments {
		if members[key] == nil && log.Spec.Revision > 0 && log.Lifecycle != fleet.Deleted && !p.target.Decided[key] {
			members[key] = map[string]bool{}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(members), fleet.Key.Compare) {
		p.applyDeployment(key, members[key])
	}
}

// decidedOtherwise says whether an operator has given the device another value.
func (p *planner) decidedOtherwise(it item) bool {
	last, known := p.target.Last[it.subject]
	return known && !last.Imported && (last.Removal || string(last.Data) != string(it.data))
}

func (p *planner) note(key fleet.Key, it item) {
	hash := eventlog.Hash(it.data)
	all := p.content[key]
	i := slices.IndexFunc(all, func(c content) bool { return c.hash == hash })
	if i < 0 {
		all = append(all, content{hash: hash, data: it.data})
		i = len(all) - 1
	}
	all[i].devices++
	if it.Created.After(all[i].newest) {
		all[i].newest = it.Created
	}
	p.content[key] = all
}

// applyDeployment plans what the log is to know of a Deployment. members are the devices
// that the source gives it to; those that the log gave it to, and the source does not
// withdraw it from, are selected with them.
func (p *planner) applyDeployment(key fleet.Key, members map[string]bool) {
	spec, before, elsewhere := p.inLog(key, members)
	decided := p.target.Decided[key]
	out := Deployment{Namespace: key.Namespace, Name: key.Name, Selector: spec.Selector, Revision: spec.Revision}
	if !decided && (spec.Revision == 0 || !p.exact(spec.Selector, key, members)) {
		if len(members) == 0 {
			if !elsewhere {
				p.ended(key, before)
			}
			return
		}
		out.Selector, out.Guessed = guess(key.Name, members, p.labels, p.o.MaxIDs, p.allMarkable(members))
	}
	p.selectMembers(key, members, out.Selector)
	reselected := selectorText(out.Selector) != selectorText(spec.Selector)
	all := p.content[key]
	if len(all) == 0 { // all that the source has of it is refused
		if reselected {
			p.applied(key, content{hash: spec.ScoreHash, data: spec.Score, newest: p.source.Read, revision: spec.Revision}, out.Selector, before)
		}
		return
	}
	slices.SortFunc(all, func(a, b content) int {
		return cmp.Or(a.newest.Compare(b.newest), cmp.Compare(a.hash, b.hash))
	})
	var last uint64
	for _, r := range p.target.Revisions[key] {
		last = max(last, r)
	}
	hash := spec.ScoreHash
	for i := range all {
		c, newest := &all[i], i == len(all)-1
		revision, known := p.target.Revisions[key][c.hash]
		c.revision = revision
		switch {
		case decided && !known:
			continue // refused, and so not counted
		case decided, known && !newest, known && c.hash == hash && !reselected:
		case known && c.hash == hash: // another selector alone
			before = p.applied(key, *c, out.Selector, before)
		default: // content that is new, or is the newest once more
			last++
			c.revision = last
			before, hash = p.applied(key, *c, out.Selector, before), c.hash
		}
		out.Devices += c.devices
		if c.hash != spec.ScoreHash {
			out.Behind += c.devices
		}
	}
	if !decided {
		newest := all[len(all)-1]
		out.Revision, out.Behind = newest.revision, out.Devices-newest.devices
	}
	p.Deployments = append(p.Deployments, out)
}

// inLog gives what the log has of a Deployment, with the id of the event that applied
// it, and adds to its members the devices that have it. elsewhere says whether devices
// have it that no selector can reach, since they have no device-info.
func (p *planner) inLog(key fleet.Key, members map[string]bool) (spec eventlog.Deployment, applied string, elsewhere bool) {
	log := p.target.View.Deployments[key]
	if log == nil {
		return spec, "", false
	}
	for a := range log.Assigned {
		_, selectable := p.labels[a.Device.ID]
		switch {
		case p.withdrawn[eventlog.DesiredSubject(a.Device.ID, key.Name)]:
		case selectable:
			members[a.Device.ID] = true
		default:
			elsewhere = true
		}
	}
	spec, applied = log.Spec, log.Applied.ID
	if log.Lifecycle == fleet.Deleted {
		spec.Selector = eventlog.Selector{} // so it is applied again
		applied = log.Changed.ID
	}
	return spec, applied, elsewhere
}

// selectMembers notes which members a Deployment's selector leaves out, and marks them
// where it selects by a mark and the Deployment is an import's.
func (p *planner) selectMembers(key fleet.Key, members map[string]bool, s eventlog.Selector) {
	marking := ""
	if _, by := s.MatchLabels[markingPrefix+key.Name]; by && !p.target.Decided[key] {
		marking = key.Name
		p.markMembers(markingPrefix+key.Name, members)
	}
	p.unselected[key] = map[string]bool{}
	for id := range members {
		if !p.selects(s, id, marking, true) {
			p.unselected[key][id] = true
		}
	}
}

func (p *planner) allMarkable(members map[string]bool) bool {
	for id := range members {
		if !p.markable(id) {
			return false
		}
	}
	return true
}

// applied plans deployment.applied, and gives its id. before is the id of the one that it
// comes after.
func (p *planner) applied(key fleet.Key, c content, sel eventlog.Selector, before string) string {
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.DeploymentApplied, c.newest, eventlog.Deployment{
		Revision: c.revision, Selector: sel, Score: c.data, ScoreHash: c.hash,
		RequestedBy: eventlog.Requester{By: eventlog.RequestedByUnknown},
	})
	if err != nil {
		return before // the score was read as JSON, so it can be written
	}
	return p.state(d, key.String()+" "+before, "")
}

func (p *planner) revisionOf(key fleet.Key, hash string) uint64 {
	for _, c := range p.content[key] {
		if c.hash == hash {
			return c.revision
		}
	}
	return 0
}

// ended plans deployment.deleted.
func (p *planner) ended(key fleet.Key, before string) {
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.DeploymentDeleted, p.source.Read, eventlog.DeploymentEnd{Reason: ReasonNoDevice})
	if err == nil {
		p.state(d, key.String()+" "+before, "")
	}
}
