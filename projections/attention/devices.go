package attention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

const (
	// DefaultHabit is how long a device may be offline where no habit of it is known.
	DefaultHabit = 10 * time.Minute
	// RequestPatience is how long an operator has to answer what a person asks.
	RequestPatience = time.Minute
)

// deviceKinds are the kinds that are first found device by device.
func deviceKinds() []Kind { return []Kind{DuplicateIdentity, Flood, Offline, Unknown, KeyExpiring} }

// devices looks at each device once.
func (l *list) devices(v *fleet.View) {
	for _, d := range v.Devices {
		l.unanswered("decommission "+d.ID, d.ID, d.Leaving)
		if q := d.AccessRequest; q != nil {
			l.unanswered(q.Verb+" "+d.ID, d.ID, q)
		}
		if d.Decommissioned {
			continue
		}
		if d.Registered {
			l.known++
		}
		l.offline(d)
		l.duplicate(d)
		l.flood(d)
		l.unknown(d)
		l.key(d)
	}
}

// unanswered is about what a person asked and no operator answered.
func (l *list) unanswered(what, device string, q *fleet.Request) {
	if q == nil || l.now.Sub(q.Mark.At) < RequestPatience {
		return
	}
	l.add(Item{
		Kind: OperatorSilent, Severity: Critical, Name: device, Since: q.Mark.At, Title: "no operator answers",
		Reason: fmt.Sprintf("%s asked to %s, and no operator has done it since: is an operator running, and does it lead?", orSomebody(q.User), what), Command: "fleetctl doctor",
	})
}

func (l *list) offline(d *fleet.Device) {
	p := &d.Presence
	// Whose access was revoked may not connect, and that is known.
	if p.Online != fleet.OnlineFalse || d.Access != nil || d.Out() {
		return
	}
	since := gone(*p)
	habit, known := l.facts.Habits[d.ID]
	if !known || habit < DefaultHabit {
		habit = DefaultHabit
	}
	away := l.now.Sub(since)
	if away <= habit {
		return
	}
	reason := fmt.Sprintf("its pulse was last heard %s ago; it goes on with what it last had: look at its power and its network", span(away))
	if p.LastSeen.IsZero() {
		reason = "its pulse was never heard: look at its power, its network and its agent"
	} else if known && habit > DefaultHabit {
		reason += fmt.Sprintf(" (it has been away for %s at most before)", span(habit))
	}
	l.device(Item{Kind: Offline, Severity: Warning, Name: d.ID, Since: since, Title: d.ID + " is offline", Reason: reason, Command: "fleetctl device why " + d.ID})
}

func (l *list) duplicate(d *fleet.Device) {
	if d.Identity.Duplicate(l.now) {
		l.device(Item{
			Kind: DuplicateIdentity, Severity: Critical, Name: d.ID, Since: d.Identity.Alternated, Title: "two machines are " + d.ID,
			Reason: "two machines report as " + d.ID + " (a cloned SD card?): give one of them another device_id", Command: "fleetctl history device/" + d.ID,
		})
	}
}

func (l *list) flood(d *fleet.Device) {
	i := Item{Kind: Flood, Severity: Critical, Name: d.ID, Title: d.ID + " floods the log", Command: "fleetctl log --device " + d.ID}
	switch {
	case d.Access != nil && d.Access.Reason == fleet.ReasonFlooding:
		i.Severity, i.Title = Warning, d.ID+" was cut off"
		i.Reason = "it wrote more to the log than its budget, so its access was revoked: find out what it writes, then let it in again"
		i.Command = "fleetctl device allow " + d.ID
	case d.Access == nil && d.Traffic.Flooding():
		i.Reason = "it writes more to the log than its budget, and no operator has revoked its access yet"
	default:
		return
	}
	l.device(i)
}

func (l *list) unknown(d *fleet.Device) {
	names := d.Unknown()
	if len(names) == 0 {
		return
	}
	i := Item{
		Kind: Unknown, Severity: Notice, Name: d.ID, Title: d.ID + " runs what the log does not know",
		Reason:  fmt.Sprintf("it reports %s, which was never assigned to it and is left alone: apply a Deployment of the name to take it over, and delete that to end it", few(names)),
		Command: "fleetctl explain device/" + d.ID,
	}
	if d.Crowded() {
		i.Severity = Warning
		i.Reason = fmt.Sprintf("it reports %d Deployments that were never assigned to it, such as %s: the device is broken or hostile", len(names), few(names))
	}
	l.device(i)
}

// alike divides items of a kind by what helps: a key that has ended is mended in another way than one
// that will end.
func alike(kind Kind, all []Item) [][]Item {
	if kind != KeyExpiring {
		return [][]Item{all}
	}
	ended := func(i Item) bool { return i.Severity == Warning }
	return [][]Item{
		slices.DeleteFunc(slices.Clone(all), ended),
		slices.DeleteFunc(all, func(i Item) bool { return !ended(i) }),
	}
}

// together makes one item of many about single devices.
func (l *list) together(kind Kind, all []Item) []Item {
	if len(all) <= MaxSingle {
		return all
	}
	slices.SortFunc(all, compare)
	n := len(all)
	one := Item{Kind: kind, Severity: all[0].Severity, Since: all[0].Since, Devices: n}
	for _, i := range all {
		if len(one.Examples) < maxExamples {
			one.Examples = append(one.Examples, i.Name)
		}
		if i.Since.Before(one.Since) {
			one.Since = i.Since
		}
	}
	of, such := rollout.DevicesText(n), " (such as "+strings.Join(one.Examples, ", ")+")"
	switch kind {
	case DuplicateIdentity:
		one.Title, one.Command = of+" have a double", "fleetctl history device/"+all[0].Name
		one.Reason = "two machines report under each of these names" + such + ": was one image copied to many machines? Give each its own device_id"
	case Flood:
		one.Title, one.Command = of+" flood the log, or did", "fleetctl log --device "+all[0].Name
		one.Reason = "they write more to the log than their budget" + such + ": find out what they write"
	case Offline:
		one.Title, one.Command = of+" are offline", "fleetctl get devices"
		one.Reason = fmt.Sprintf("of %s that many are away for longer than they used to be%s", rollout.DevicesText(l.known), such)
		if 2*n >= l.known {
			one.Severity = Critical
			one.Reason += ": look at the network and at the NATS servers before the devices"
		}
	case Unknown:
		one.Title, one.Command = of+" run what the log does not know", "fleetctl explain device/"+all[0].Name
		one.Reason = "they report what was never assigned to them" + such + ": was an older archive restored? It is left alone"
	case KeyExpiring:
		one.Title, one.Command = "the keys of "+of+" end soon", "fleetctl enroll rotate "+strings.Join(one.Examples, " ")
		one.Reason = "give them new keys before: without one a device gets no token" + such
		if one.Severity == Warning {
			one.Title, one.Command = "the keys of "+of+" have ended", "fleetctl device why "+all[0].Name
			one.Reason = "the provider gives them no token any more, and each is cut off once its last token ends" + such
		}
	}
	return []Item{one}
}

func orSomebody(user string) string {
	if user == "" {
		return "somebody"
	}
	return user
}

// few lists the first names.
func few(names []string) string {
	if len(names) > maxExamples {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxExamples], ", "), len(names)-maxExamples)
	}
	return strings.Join(names, ", ")
}
