package migration

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

// fleetLabels are the labels by which an operator selects devices: those that they
// report and it takes, and those that persons set. They are of all devices that can be
// selected, of the source and of the log.
type fleetLabels map[string]map[string]string

// selectable gives the labels of what a device reports that select.
func selectable(reported map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range reported {
		if k == v1alpha1.LabelDevice || strings.HasPrefix(k, v1alpha1.RestrictedLabelPrefix) ||
			len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0 {
			continue
		}
		out[k] = v
	}
	return out
}

// infoOf reads a device-info; what cannot be read is as if it were empty.
func infoOf(it item) eventlog.DeviceInfo {
	e, err := eventlog.Decode(it.subject, nil, it.data, 1, it.Created)
	if err != nil {
		return eventlog.DeviceInfo{}
	}
	i, err := e.Info()
	if err != nil {
		return eventlog.DeviceInfo{}
	}
	return i
}

// learnDevices finds out which devices there are, and by which labels each is selected.
// What a device said to the log itself is newer than what the source has of it, and a
// label that a person set goes before one that the device reports.
func (p *planner) learnDevices() {
	for id, it := range p.infos {
		p.known[id] = true
		p.labels[id] = selectable(infoOf(it).Labels)
	}
	for id, d := range p.target.View.Devices {
		if d.Decommissioned {
			delete(p.labels, id)
			continue
		}
		if d.Info != nil {
			p.known[id] = true
			last, inLog := p.target.Last[eventlog.InfoSubject(id)]
			if p.labels[id] == nil || inLog && !last.Imported {
				p.labels[id] = selectable(d.Info.Labels)
			}
		}
		for k, l := range d.Labels {
			if p.labels[id] == nil {
				p.labels[id] = map[string]string{}
			}
			if l.Owner != eventlog.OwnerDevice && l.Owner != v1alpha1.FieldManagerOperator && k != v1alpha1.LabelDevice {
				p.labels[id][k] = l.Value
			}
		}
	}
}

// selects says whether a selector will select a device, once the devices are marked of
// which a Deployment's name is given; empty: none is.
func (p *planner) selects(s eventlog.Selector, id, marking string, member bool) bool {
	labels := maps.Clone(p.labels[id])
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1alpha1.LabelDevice] = id
	if label := markingPrefix + marking; marking != "" && p.markable(id) {
		if member {
			labels[label] = "true"
		} else if p.marked(id, label) {
			delete(labels, label)
		}
	}
	return selectors.Selects(s, labels)
}

// exact says whether a selector will select the devices of a Deployment and no others.
func (p *planner) exact(s eventlog.Selector, key fleet.Key, members map[string]bool) bool {
	for id := range p.labels {
		if p.selects(s, id, key.Name, members[id]) != members[id] {
			return false
		}
	}
	return true
}

// labelOwner owns the labels that mark devices, as a person's field manager would.
const labelOwner = "fleetctl-import"

// markable says whether a label of the log comes to the device: the operator sets what
// the log has when it makes a Device, and never on one that is in the cluster.
func (p *planner) markable(id string) bool { return !p.target.Labelled[id] }

// marked says whether an import gave a label to a device.
func (p *planner) marked(id, label string) bool {
	d := p.target.View.Devices[id]
	return d != nil && d.Labels[label].Owner == labelOwner
}

// markMembers notes which devices get the label of a Deployment, and which lose it.
func (p *planner) markMembers(label string, members map[string]bool) {
	for id, has := range p.labels {
		if _, there := has[label]; there == members[id] || !p.markable(id) || there && !p.marked(id, label) {
			continue
		}
		if p.marks[id] == nil {
			p.marks[id] = map[string]bool{}
		}
		p.marks[id][label] = members[id]
	}
}

// markDevices plans device.relabeled for each device whose marks change.
func (p *planner) markDevices() {
	for _, id := range slices.Sorted(maps.Keys(p.marks)) {
		d, owned, before := p.target.View.Devices[id], map[string]eventlog.OwnedLabel{}, ""
		if d != nil && len(d.Labels) > 0 {
			owned, before = maps.Clone(d.Labels), d.LabelsID
		} else {
			for k, v := range p.labels[id] {
				owned[k] = eventlog.OwnedLabel{Value: v, Owner: eventlog.OwnerDevice}
			}
		}
		for label, set := range p.marks[id] {
			if set {
				owned[label] = eventlog.OwnedLabel{Value: "true", Owner: labelOwner}
			} else {
				delete(owned, label)
			}
		}
		at, cause := p.source.Read, ""
		if it, ok := p.infos[id]; ok {
			at, cause = it.Created, causeOf(it.Entry)
		}
		draft, err := eventlog.NewDraft(eventlog.DeviceSubject(id), eventlog.DeviceRelabeled, at, eventlog.Labels{Labels: owned})
		if err != nil {
			continue // labels are strings, which can be written
		}
		p.state(draft, id+" "+before, cause)
	}
}
