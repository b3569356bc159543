package explain

import (
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
)

// placement is one Deployment and one device before the verdicts.
type placement struct {
	*evidence
	key   fleet.Key
	d     *fleet.Deployment // nil: the log never heard of it
	spec  *specMarks        // never nil
	dev   *fleet.Device     // never nil
	p     *fleet.Assignment // nil: nothing of the name is or was on the device
	marks *assignmentMarks  // never nil
	unmet []eventlog.SelectorRequirement
	match bool
}

func (s *evidence) placementOf(key fleet.Key) placement {
	c := placement{evidence: s, key: key, spec: s.specs[key], dev: s.device(), marks: s.places[key.Name]}
	if c.dev == nil {
		c.dev = &fleet.Device{ID: s.id}
	}
	c.p = c.dev.Pair(key.Name)
	if c.marks == nil {
		c.marks = &assignmentMarks{}
	}
	if c.spec == nil {
		c.spec = &specMarks{revisions: map[uint64]*appliedMark{}}
	}
	if c.spec.now != nil {
		c.d = s.view.Deployments[key]
		labels := selectors.Bare(c.dev.Labels)
		c.unmet, c.match = selectors.Unmet(c.spec.now.spec.Selector, labels), selectors.Selects(c.spec.now.spec.Selector, labels)
	}
	return c
}

// assigned: the log wants this very Deployment on the device.
func (c placement) assigned() bool {
	return c.p != nil && c.p.Assigned() && c.p.Deployment.Key == c.key
}

// holder is another Deployment of the name that has the place.
func (c placement) holder() (fleet.Key, bool) {
	if c.p == nil || !c.p.Assigned() || c.p.Deployment.Key == c.key {
		return fleet.Key{}, false
	}
	return c.p.Deployment.Key, true
}

// withdrawn: the log took this very Deployment off the device.
func (c placement) withdrawn() bool {
	return c.p != nil && c.p.Withdrawn() && c.marks.held == c.key
}

func (c placement) ended() bool    { return c.d != nil && c.d.Lifecycle == fleet.Deleted }
func (c placement) orphaned() bool { return c.d != nil && c.d.Lifecycle == fleet.Orphaned }
func (c placement) offline() bool  { return c.dev.Presence.Online == fleet.OnlineFalse }

// name is the Deployment as a person writes it.
func (c placement) name() string { return strings.TrimPrefix(c.key.String(), "/") }

// desired is the event that applied what is desired on the device.
func (c placement) desired() *appliedMark {
	if c.p != nil && c.assigned() {
		if m := c.spec.revisions[c.p.Desired.Revision]; m != nil {
			return m
		}
	}
	return c.spec.now
}

// chain is how it came to this, from the first cause to the last effect.
func (c placement) chain() []Sentence {
	var out []Sentence
	want := c.desired()
	if want != nil {
		out = append(out, c.appliedSentence(want))
		if now := c.spec.now; now != want && now.Sequence != want.Sequence {
			out = append(out, c.appliedSentence(now))
		}
	}
	if t := c.spec.turned; t != nil {
		out = append(out, c.turnedSentence(t))
	}
	if c.spec.asked != nil {
		out = append(out, c.citing(c.spec.asked, c.spec.askedBy+" asked to withdraw "+c.name()))
	}
	out = append(out, c.selection()...)
	out = append(out, c.run()...)
	out = append(out, c.placed()...)
	if a := c.dev.Access; a != nil {
		out = append(out, c.citing(c.access, "access of "+c.id+" was revoked"+because(a.Reason)+colon(a.Message)))
	}
	if s := c.started; s != nil && c.marks.desired != nil && s.at.After(c.marks.desired.at) {
		out = append(out, c.citing(s, "the agent was started"))
	}
	out = append(out, c.presenceSentence())
	out = append(out, c.deeds()...)
	out = append(out, c.reports()...)
	sortSentences(out)
	return out
}

func (c placement) appliedSentence(m *appliedMark) Sentence {
	text := fmt.Sprintf("%s was applied by %s as revision %d", c.name(), timeline.Requester(m.spec), m.spec.Revision)
	if first := c.spec.revisions[m.spec.Revision]; first != nil && first.Sequence != m.Sequence {
		text = fmt.Sprintf("%s was applied again by %s; revision %d stays", c.name(), timeline.Requester(m.spec), m.spec.Revision)
	}
	if m.spec.ChangeCause != "" {
		text += ", “" + m.spec.ChangeCause + "”"
	}
	return c.citing(&m.mark, text)
}

func (c placement) turnedSentence(m *mark) Sentence {
	switch m.kind {
	case eventlog.DeploymentOrphaned:
		return c.citing(m, c.name()+" was orphaned: its custom resource is missing, and the operator saw no deletion")
	case eventlog.DeploymentAdopted:
		return c.citing(m, c.name()+" was adopted: its custom resource is there again")
	}
	return c.citing(m, c.name()+" was deleted")
}

// selection says why the device matches, or which requirement it fails.
func (c placement) selection() []Sentence {
	if c.spec.now == nil {
		return nil
	}
	sel := c.spec.now.spec.Selector
	if c.labels == nil {
		return []Sentence{c.nothing("the log has no labels of " + c.id + " that could match the selector " + selectors.SelectorText(sel))}
	}
	if c.match {
		var keys []string
		for _, r := range selectors.Requirements(sel) {
			keys = append(keys, r.Key)
		}
		slices.Sort(keys)
		text := "the selector " + selectors.SelectorText(sel) + " matches"
		if owned := ownedTexts(c.dev.Labels, slices.Compact(keys)); owned != "none" {
			text += " its labels: " + owned
		}
		return []Sentence{c.citing(c.labels, text)}
	}
	return []Sentence{c.citing(c.labels, c.mismatch())}
}

// mismatch says which requirements of the selector the device does not meet.
func (c placement) mismatch() string {
	var why []string
	for _, r := range c.unmet {
		why = append(why, selectors.UnmetText(r, c.dev.Labels))
	}
	if len(why) == 0 {
		why = []string{"its selector is empty, which selects nothing"}
	}
	return c.name() + " does not match " + c.id + ": " + strings.Join(why, "; ")
}

// placed says what the operator last decided for the device.
func (c placement) placed() []Sentence {
	m := c.marks.desired
	switch holder, other := c.holder(); {
	case other:
		return []Sentence{c.citing(c.marks.assigned, "the name "+c.key.Name+" is held on "+c.id+" by "+holder.String()+", to which it was assigned first")}
	case m == nil || c.marks.held != c.key:
		return nil
	case c.assigned():
		return []Sentence{c.citing(m, fmt.Sprintf("revision %d of %s was assigned to %s", c.p.Desired.Revision, c.name(), c.id))}
	}
	return []Sentence{c.citing(m, c.name()+" was withdrawn from "+c.id)}
}

// deeds are what the agent did since, the first and the last few.
func (c placement) deeds() []Sentence {
	if c.marks.held != c.key {
		return nil
	}
	const most = 6
	var out []Sentence
	for _, s := range c.marks.steps {
		if c.assigned() && s.Revision > 0 && s.Revision != c.p.Desired.Revision {
			continue // it finished what it was at
		}
		what := "the agent"
		if s.Service != "" {
			what += ", service " + s.Service
		}
		text := timeline.StepText(s.kind, what, s.Step)
		text += because(s.Reason) + colon(s.Error)
		if s.repeats > 0 {
			text += fmt.Sprintf("; and %s, the last at #%d", times(s.repeats), s.latest)
		}
		out = append(out, c.citing(&s.mark, text))
	}
	if len(out) > most {
		out = slices.Concat(out[:1], out[len(out)-most+1:])
	}
	return out
}

// reports are the first report that says what the last one says, and when it was
// last said.
func (c placement) reports() []Sentence {
	if _, other := c.holder(); other {
		return nil
	}
	m := c.marks
	switch {
	case m.cleared != nil && m.held == c.key:
		return []Sentence{c.citing(m.cleared, c.id+" said that nothing is left of "+c.name())}
	case m.reported == nil:
		return nil
	}
	text := c.id + " reported " + string(m.said.phase) + because(m.said.reason)
	if m.said.revision > 0 {
		text += fmt.Sprintf(" of revision %d", m.said.revision)
	}
	text += colon(m.said.error)
	if m.repeats > 0 {
		text += fmt.Sprintf("; and %s, the last at #%d", times(m.repeats), m.latest.Sequence)
	}
	return []Sentence{c.citing(m.reported, text)}
}

func times(n int) string {
	if n == 1 {
		return "once again"
	}
	return fmt.Sprintf("%d times again", n)
}
