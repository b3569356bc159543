package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/seal"
)

const (
	// pulsePatience is how old the newest pulse may be: agents send one each 30 s, and one
	// that misses three is offline.
	pulsePatience = 2 * time.Minute
	// skewWarning and skewFailure are how far a clock may be off.
	skewWarning = 5 * time.Second
	skewFailure = time.Minute
	// appendPatience is how long an event may wait between a decision and the log.
	appendPatience = 30 * time.Second
	// sealPatience is how long an event may be without a seal, which may wait for a leader.
	// Seals can be made more rarely, though hardly less than once a day.
	sealPatience = 4 * seal.DefaultInterval
	sealFailure  = 25 * time.Hour
)

func operator(f Facts, r *report) {
	o := f.Operator
	if o == nil {
		return
	}
	if o.Leader == "" {
		r.fail("start an operator: fleetctl install, or fleet-dev up", "no operator ever led this log, so nothing is decided")
		return
	}
	if o.Unanswered > 0 {
		r.fail("look whether an operator runs and leads, and at its log: kubectl get pods,leases -n fleet-system", "%s not answered, the oldest since %s: the operator is behind, or none runs",
			phrase.Number(o.Unanswered, "request is", "requests are"), span(f.serverNow().Sub(o.Since)))
	}
	if o.Silent != "" {
		r.fail("look whether an operator runs, at its log, and at its connection to the servers: kubectl get pods,leases -n fleet-system", "%s, so nothing is decided; devices run on with what they have", o.Silent)
	}
	if fold := o.Fold; fold != nil {
		last := fold.Sequence
		if f.Log != nil {
			last = max(last, f.Log.Last)
		}
		behind := fmt.Sprintf("an operator has folded the log up to %d of %d, and the oldest event that it lacks is %s old", fold.Sequence, last, span(fold.Lag(f.serverNow())))
		switch severity := fold.Severity(f.serverNow()); {
		case fold.Refused != "":
			r.warn("wait, and ask again; where it lasts, look at the operators' logs", "an operator does not answer devices that ask for their desired state: %s", fold.Refused)
		case severity == attention.Critical:
			r.fail(attention.FoldRemedy, "%s: it decides by the past, or not at all", behind)
		case severity == attention.Warning:
			r.warn(attention.FoldRemedy, "%s", behind)
		}
	}
	elected := fmt.Sprintf("%s was elected the leader at %s", o.Leader, o.Elected.UTC().Format(time.RFC3339))
	if o.Fold != nil {
		elected += ", and an operator answers"
	}
	r.well("%s", elected)
	if o.FoldUnread != "" {
		r.add(LeftOut, "how far an operator has folded the log is not known: "+o.FoldUnread, "")
	}
}

func pulses(f Facts, r *report) {
	p := f.Pulses
	if p == nil {
		return
	}
	if len(p.Faults) > 0 {
		r.fail("look whether an operator leads: it makes a stream that is gone again within seconds; where the stream was changed, restart the operator that leads", "the stream of pulses is not as it should be: %s", strings.Join(p.Faults, "; "))
		return
	}
	if f.Devices != nil && f.Devices.Known == 0 {
		r.well("there is no device yet")
		return
	}
	if d := f.Devices; p.Heard == 0 && d != nil && d.Online > 0 { // a stream that is young is empty until each device's next pulse
		r.warn("ask again in a minute; then look whether an operator runs, and at the network of the devices", "the servers hold no device's pulse, though the log has %s online: the servers have just started, or no operator listens",
			rollout.DevicesText(d.Online))
		return
	}
	if p.Heard == 0 {
		r.fail("look whether devices may connect: fleetctl device why DEVICE", "the servers hold no device's pulse")
		return
	}
	if old := f.serverNow().Sub(p.Newest); old > pulsePatience {
		if d := f.Devices; d != nil && d.Online > 0 { // a fleet whose pulses are rare is well
			r.warn("look whether an operator runs, and at the network of the devices", "the newest pulse of any device is %s old, though the log has %s online: pulses are rare here, or no operator listens",
				span(old), rollout.DevicesText(d.Online))
		} else {
			r.fail("look at the network of the devices and at the auth callout; fleetctl device why DEVICE", "the newest pulse of any device is %s old", span(old))
		}
	} else if d, o := f.Devices, f.Operator; d != nil && d.Online == 0 && o != nil && f.serverNow().Sub(o.Elected) > pulsePatience {
		r.fail("look whether an operator runs and leads, and at its log", "devices are heard, and the log has none of them as online: no operator listens")
	}
	r.well("%s heard, the last one %s ago", phrase.Number(p.Heard, "device was", "devices were"), span(max(0, f.serverNow().Sub(p.Newest))))
}

func versions(f Facts, r *report) {
	o := f.Operator
	if o == nil || o.Version == "" {
		return
	}
	switch older, known := compareMinor(f.Version, o.Version); {
	case known && older < 0:
		r.fail("use the fleetctl of the operator's version: it may not read what the operator writes", "fleetctl is %s, and the operator is %s", f.Version, o.Version)
	case known && older > 0:
		r.warn("fleetctl upgrade, or the fleetctl of the operator's version", "fleetctl is %s, and the operator is %s", f.Version, o.Version)
	}
	if d := f.Devices; d != nil {
		for _, agent := range slices.Sorted(maps.Keys(d.Agents)) {
			n := rollout.DevicesText(d.Agents[agent])
			switch newer, known := compareMinor(agent, o.Version); {
			case known && newer > 0:
				r.fail("upgrade the operator first, then the agents: fleetctl upgrade", "the agents of %s are %s, newer than the operator, which is %s", n, agent, o.Version)
			case known && newer < -1:
				r.warn("upgrade the agents: docs/packages.md", "the agents of %s are %s, more than one minor version behind the operator, which is %s", n, agent, o.Version)
			}
		}
	}
	if k := f.Kubernetes; k != nil {
		for _, name := range slices.Sorted(maps.Keys(k.Images)) {
			if apart, known := compareMinor(k.Images[name], o.Version); known && apart != 0 {
				r.fail("fleetctl upgrade: an upgrade may have stopped half-way", "%s is %s, and the operator that leads is %s", name, k.Images[name], o.Version)
			}
		}
	}
	r.well("fleetctl %s, operator %s, agents %s", f.Version, o.Version, agents(f.Devices))
}

func agents(d *Devices) string {
	if d == nil || len(d.Agents) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(d.Agents)), ", ")
}

// compareMinor says by how many minor versions one is newer than another; by 100 and more
// where the major versions differ. known is false where one of them is no version, as that
// of a build that is no release.
func compareMinor(a, b string) (by int64, known bool) {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	if errA != nil || errB != nil {
		return 0, false
	}
	return 100*(int64(va.Major())-int64(vb.Major())) + int64(va.Minor()) - int64(vb.Minor()), true
}

func keys(f Facts, r *report) {
	if s := f.Server; s != nil && !s.TokenEnds.IsZero() && s.TokenEnds.Before(f.At.Add(time.Minute)) {
		r.warn("fleetctl login", "your token ends at %s", s.TokenEnds.UTC().Format(time.RFC3339))
	}
	d := f.Devices
	if d == nil {
		return
	}
	if n := len(d.Ended); n > 0 {
		r.fail("fleetctl device why "+d.Ended[0], "the keys of %s have ended (%s): they are cut off once their tokens end", rollout.DevicesText(n), some(d.Ended))
	}
	if n := len(d.Ending); n > 0 {
		r.warn("fleetctl enroll rotate "+strings.Join(d.Ending[:min(n, maxNamed)], " "), "the keys of %s end within 30 days (%s)", rollout.DevicesText(n), some(d.Ending))
	}
	r.well("no device's key ends within 30 days")
}

// maxNamed is how many devices a finding names.
const maxNamed = 5

func some(ids []string) string {
	if len(ids) > maxNamed {
		return strings.Join(ids[:maxNamed], ", ") + ", …"
	}
	return strings.Join(ids, ", ")
}

func seals(f Facts, r *report) {
	s := f.Seal
	if s == nil {
		return
	}
	if s.Uncovered > 0 {
		switch late := f.serverNow().Sub(s.Since); {
		case late <= sealPatience:
		case s.At.IsZero():
			r.warn("look at the operator's log for its seal key: docs/proof.md", "no seal covers any of %s, though the first is %s old: a change of the log would not be seen", phrase.Number(int(s.Uncovered), "event", "events"), span(late))
		case late <= sealFailure:
			r.warn("fleetctl verify, and the operator's log: it seals nothing over a contradiction", "%s since the last seal, the oldest %s ago: an operator seals after %s unless it is told otherwise",
				phrase.Number(int(s.Uncovered), "event", "events"), span(late), span(seal.DefaultInterval))
		default:
			r.fail("fleetctl verify, and the operator's log: it seals nothing over a contradiction", "%s since the last seal, the oldest %s ago: sealing has stopped", phrase.Number(int(s.Uncovered), "event", "events"), span(late))
		}
	}
	if s.At.IsZero() {
		r.well("there is none yet; the log is young")
	}
	r.well("the last one, of %s, covers all up to %d", s.At.UTC().Format(time.RFC3339), s.Sequence)
}

func checkpoints(f Facts, r *report) {
	c, l := f.Checkpoints, f.Log
	if c == nil || l == nil {
		return
	}
	const late = 4 * checkpoint.DefaultEvents
	if l.Last > c.Usable+late {
		since := fmt.Sprintf("none of %d is usable", c.Others)
		if c.Usable > 0 {
			since = fmt.Sprintf("the newest is at %d", c.Usable)
		} else if c.Others == 0 {
			since = "there is none"
		}
		r.warn("look at the operator's log; --checkpoint-events may be 0", "%s, and the log is at %d: an operator starts slowly, and the past is far", since, l.Last)
	}
	if c.Usable == 0 {
		r.well("there is none yet; the log is short")
	}
	r.well("the newest is at %d of %d", c.Usable, l.Last)
}
