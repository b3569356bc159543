package migration

import (
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// take plans what becomes of an entry.
func (p *planner) take(it item) {
	c := p.Counts[it.Bucket]
	if it.says.After(p.o.Now.Add(clockTolerance)) {
		p.Notes = append(p.Notes, *it.finding(ReasonClockAhead, "the value names the moment %s, which is in the future; it is imported as it is", it.says.UTC().Format(time.RFC3339)))
	}
	switch it.Bucket {
	case eventlog.BucketDesired:
		p.takeDesired(it, c)
	case eventlog.BucketHeartbeat:
		p.takePulse(it, c)
	default:
		p.takeReport(it, c)
	}
}

// clockTolerance is how far a device's clock may be ahead without a note.
const clockTolerance = 5 * time.Minute

func (p *planner) takeDesired(it item, c *Count) {
	key := p.key(it)
	last, known := p.target.Last[it.subject]
	same := known && last.Removal == it.Deleted && string(last.Data) == string(it.data)
	switch {
	case known && !last.Imported && !same && !it.Deleted:
		p.refuse(it.finding(ReasonAlreadyDecided, "the log has another desired value for the device, which an operator decided"))
		return
	case known && !last.Imported && !same:
		c.Deleted++
		return
	}
	if f := p.unplaced(it, key); f != nil && (!same || last.Imported) {
		p.refuse(f)
		return
	}
	p.want[it.Bucket][it.Key] = it.data
	if !it.Deleted && string(it.data) != string(it.Value) {
		c.Respelt++
	}
	if same {
		c.Present++
		return
	}
	d := p.draft(it, it.subject, eventlog.DesiredAssigned, it.data)
	d.Namespace = key.Namespace
	if it.Deleted {
		d.Type, d.Data = eventlog.DesiredWithdrawn, nil
	} else {
		d.Revision = p.revisionOf(key, eventlog.Hash(it.data))
	}
	p.count(c, p.add(it, d))
}

// unplaced says why the next operator would take a desired value off its device.
func (p *planner) unplaced(it item, key fleet.Key) *Finding {
	switch {
	case it.Deleted:
		return nil
	case p.revisionOf(key, eventlog.Hash(it.data)) == 0:
		return it.finding(ReasonOperatorOwns, "an operator decided Deployment %s in the log, and it never had this content; "+
			"import into another namespace (--namespaces %s=NAMESPACE), or apply this content to the Deployment, start the operator, and import again", key, key.Name)
	case !p.unselected[key][it.device]:
		return nil
	case p.target.Decided[key]:
		return it.finding(ReasonNotSelected, "the selector of Deployment %s, which an operator recorded, does not select device %s by the labels that the log knows; "+
			"change the selector, or label the Device, start the operator, and import again", key, it.device)
	}
	return it.finding(ReasonNotSelected, "the selector of Deployment %s is a label that import cannot give to device %s, which has a Device in the cluster already; "+
		"before the operator starts: kubectl label device %s %s=true", key, it.device, it.device, markingPrefix+key.Name)
}

func (p *planner) count(c *Count, added bool) {
	if added {
		c.New++
	} else {
		c.Present++
	}
}

func (p *planner) takeReport(it item, c *Count) {
	if it.Deleted {
		c.Deleted++
		return
	}
	last, known := p.target.Last[it.subject]
	switch {
	case known && !last.Imported:
		c.Kept++
		p.Notes = append(p.Notes, *it.finding(ReasonNewerInLog, "the device has reported to the log itself since; that is kept"))
		if it.Bucket == eventlog.BucketInfo {
			p.register(it)
		}
		return
	case known && !last.Removal && string(last.Data) == string(it.data):
		c.Present++
	case it.Bucket == eventlog.BucketInfo:
		p.count(c, p.add(it, p.draft(it, it.subject, eventlog.InfoReported, it.data)))
	default:
		p.count(c, p.add(it, p.draft(it, it.subject, eventlog.StateReported, it.data)))
	}
	p.want[it.Bucket][it.Key] = it.data
	if it.Bucket == eventlog.BucketInfo {
		p.register(it)
	} else if !p.assigned(it) {
		p.Notes = append(p.Notes, *it.finding(ReasonNotAssigned, "the device reports Deployment %s and has no desired value of it; the operator leaves it alone", it.deployment))
	}
}

// assigned says whether the device has a desired value of what it reports, or a delete
// marker of one.
func (p *planner) assigned(it item) bool {
	_, inLog := p.target.Last[eventlog.DesiredSubject(it.device, it.deployment)]
	return inLog || p.desired[eventlog.DesiredKey(it.device, it.deployment)]
}

// register plans device.registered, as the operator appends it at a device's first
// info.
func (p *planner) register(it item) {
	if d := p.target.View.Devices[it.device]; d != nil && d.Registered {
		return
	}
	version := infoOf(it).Inventory.AgentVersion
	const most = 128 // as the operator cuts it
	if len(version) > most {
		version = ""
	}
	draft, err := eventlog.NewDraft(eventlog.DeviceSubject(it.device), eventlog.DeviceRegistered, it.Created, eventlog.Registration{AgentVersion: version})
	if err == nil {
		p.add(it, p.draft(it, draft.Subject, draft.Type, draft.Data))
	}
}

func (p *planner) takePulse(it item, c *Count) {
	if it.Deleted {
		c.Deleted++
		return
	}
	last, known := p.target.Pulses[it.device]
	switch {
	case known && !last.Imported:
		c.Kept++ // it lives, and says so itself: no news
		return
	case known && string(last.Data) == string(it.data):
		c.Present++
	default:
		c.New++
		p.Pulses = append(p.Pulses, Pulse{Subject: it.subject, Cause: causeOf(it.Entry), Data: it.data})
	}
	p.want[it.Bucket][it.Key] = it.data
}
