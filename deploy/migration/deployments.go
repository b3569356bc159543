package migration

import (
	"cmp"
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// applyDeployments plans deployment.applied for each score that devices have of a
// Deployment, before anything is assigned: the content that the source gave to a device
// last is the newest revision.
func (p *planner) applyDeployments(items []item) {
	members := map[fleet.Key]map[string]bool{}
	for _, it := range items {
		if it.Bucket != eventlog.BucketDesired || it.Deleted || p.decidedOtherwise(it) {
			continue
		}
		key := p.key(it)
		if members[key] == nil {
			members[key] = map[string]bool{}
		}
		members[key][it.device] = true
		p.note(key, it)
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

func (p *planner) applyDeployment(key fleet.Key, members map[string]bool) {
	all := p.content[key]
	slices.SortFunc(all, func(a, b content) int {
		return cmp.Or(a.newest.Compare(b.newest), cmp.Compare(a.hash, b.hash))
	})
	var last uint64
	for _, r := range p.target.Revisions[key] {
		last = max(last, r)
	}
	log := p.target.View.Deployments[key]
	out := Deployment{Namespace: key.Namespace, Name: key.Name}
	if log != nil && log.Spec.Revision > 0 && log.Spec.Revision == last && len(p.newOf(key)) == 0 {
		out.Selector = log.Spec.Selector
	} else {
		out.Selector, out.Guessed = guess(key.Name, members, p.labels)
	}
	if _, marking := out.Selector.MatchLabels[markingPrefix+key.Name]; marking {
		for d := range members {
			if p.marked[d] == nil {
				p.marked[d] = map[string]bool{}
			}
			p.marked[d][markingPrefix+key.Name] = true
		}
	}
	for i := range all {
		c := &all[i]
		out.Devices += c.devices
		if r, known := p.target.Revisions[key][c.hash]; known {
			c.revision = r
			continue
		}
		last++
		c.revision = last
		p.applied(key, *c, out.Selector)
	}
	newest := all[len(all)-1]
	out.Revision, out.Behind = newest.revision, out.Devices-newest.devices
	p.content[key] = all
	p.Deployments = append(p.Deployments, out)
}

// newOf lists the contents that the log does not know yet.
func (p *planner) newOf(key fleet.Key) (fresh []content) {
	for _, c := range p.content[key] {
		if _, known := p.target.Revisions[key][c.hash]; !known {
			fresh = append(fresh, c)
		}
	}
	return fresh
}

func (p *planner) applied(key fleet.Key, c content, sel eventlog.Selector) {
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.DeploymentApplied, c.newest, eventlog.Deployment{
		Revision: c.revision, Selector: sel, Score: c.data, ScoreHash: c.hash,
		RequestedBy: eventlog.Requester{By: eventlog.RequestedByUnknown},
	})
	if err != nil {
		return // the score was read as JSON, so it can be written
	}
	d.Actor, d.CorrelationID = p.o.Actor, "import:"+p.source.Origin
	e := Event{ID: id(p.source.Origin, string(d.Type), key.String()+" "+c.hash, 0, c.newest, nil), Draft: d}
	if !p.target.Imported[e.ID] {
		p.Events = append(p.Events, e)
	}
}

func (p *planner) revisionOf(key fleet.Key, hash string) uint64 {
	for _, c := range p.content[key] {
		if c.hash == hash {
			return c.revision
		}
	}
	return 0
}
