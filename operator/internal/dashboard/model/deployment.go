package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

// namedDevices is how many devices of each standing a page names.
const namedDevices = 10

// What a page has of the revisions of a Deployment, and of the runs of each.
const (
	shownRevisions = 50
	shownRuns      = 10
)

// Deployment is one Deployment.
type Deployment struct {
	Moment     Moment        `json:"moment"`
	Deployment DeploymentRow `json:"deployment"`
	Lifecycle  string        `json:"lifecycle"`
	// Ended is the event by which it ended; 0: it did not.
	Ended uint64 `json:"ended,omitempty"`

	Selector   string      `json:"selector"`
	By         string      `json:"by,omitempty"` // who asked for the spec
	Cause      string      `json:"change_cause,omitempty"`
	Conditions []Condition `json:"conditions"`
	// Score and Settings are spec.score and spec.rollout as YAML.
	Score    string `json:"score"`
	Settings string `json:"rollout_settings,omitempty"`

	Progress  *resource.Progress  `json:"progress,omitempty"`
	Revisions []resource.Revision `json:"revisions"` // the newest ones, the newest first
	// EarlierRevisions are those that are left out, and EarlierRuns the runs of the others.
	EarlierRevisions int `json:"earlier_revisions"`
	EarlierRuns      int `json:"earlier_runs"`
	// Unread says why there are no revisions.
	Unread string    `json:"unread,omitempty"`
	Diff   *SpecDiff `json:"diff,omitempty"`
	// Actions are what a person can ask about it now; none at a moment of the past.
	Actions []resource.Action `json:"actions,omitempty"`
}

// SpecDiff is in what two revisions of a Deployment differ.
type SpecDiff struct {
	From   uint64           `json:"from"`
	To     uint64           `json:"to"`
	Fields []viewdiff.Field `json:"fields"`
	// Lines are the two as YAML, line by line; LinesCut says that they are not all there, for
	// there is too much.
	Lines    []Line `json:"lines"`
	LinesCut bool   `json:"lines_cut,omitempty"`
	// Missing says which of the two the log does not have.
	Missing string `json:"missing,omitempty"`
}

// DeploymentSubjects are those of the events that RevisionsOf reads.
func DeploymentSubjects(key fleet.Key) []string {
	return []string{eventlog.DeploymentSubject(key.Namespace, key.Name)}
}

// BeforeEnd is the event before the one by which it ended: there it is as it was last.
func (d Deployment) BeforeEnd() uint64 { return d.Ended - 1 }

// DeploymentOf shows a Deployment, but for its revisions; false where the log does not
// know it.
func DeploymentOf(c *resource.Catalog, now bool, key fleet.Key) (out Deployment, known bool) {
	d := c.View.Deployments[key]
	if d == nil || d.Lifecycle == "" && d.Refused == nil {
		return out, false
	}
	row, o := rowOf(c, key)
	out = Deployment{
		Moment: MomentOf(c, now), Deployment: row, Lifecycle: string(d.Lifecycle),
		Selector: selectors.SelectorText(d.Spec.Selector), By: timeline.Requester(d.Spec).String(), Cause: d.Spec.ChangeCause,
		Score: yamlOf(d.Spec.Score), Settings: yamlOf(d.Spec.Rollout), Conditions: conditionsOf(o), Revisions: []resource.Revision{},
	}
	if n := d.Changed.Sequence; d.Lifecycle == fleet.Deleted && d.Refused == nil && n > 1 {
		out.Ended = n
	}
	if p, ok := c.Progress(key, namedDevices); ok {
		out.Progress = &p
	}
	if now {
		out.Actions = c.DeploymentActions(key)
	}
	return out, true
}

// RevisionsOf reads the revisions of a Deployment from the events on its subject, and what
// each of them asked for.
func RevisionsOf(key fleet.Key, events iter.Seq2[eventlog.Event, error]) (resource.Revisions, Specs, error) {
	specs := Specs{}
	rs, err := resource.ReadRevisions(key, gathering(events, specs))
	return rs, specs, err
}

// Specs are what the revisions of a Deployment asked for.
type Specs map[uint64]*eventlog.Deployment

// SetRevisions puts the revisions on the page, and in what two of them differ; 0: the newest two.
func (d *Deployment) SetRevisions(rs resource.Revisions, specs Specs, from, to uint64) {
	all := rs.Revisions
	slices.Reverse(all)
	d.Diff = diffOf(all, specs, from, to)
	d.EarlierRevisions = max(0, len(all)-shownRevisions)
	d.Revisions = all[:len(all)-d.EarlierRevisions]
	for i := range d.Revisions {
		r := &d.Revisions[i]
		r.Score = nil
		earlier := max(0, len(r.Runs)-shownRuns)
		r.Runs = r.Runs[earlier:]
		d.EarlierRuns += earlier
	}
}

func conditionsOf(o v1alpha1.Deployment) []Condition {
	out := []Condition{}
	for _, c := range o.Status.Conditions {
		out = append(out, Condition{Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message})
	}
	return out
}

// gathering gives the events, and keeps the specs that were applied, by revision.
func gathering(events iter.Seq2[eventlog.Event, error], specs Specs) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if err == nil && e.Type == eventlog.DeploymentApplied {
				spec, err := eventlog.Payload[eventlog.Deployment](e)
				if err == nil {
					specs[spec.Revision] = &spec
				}
			}
			if errors.Is(err, eventlog.ErrForeign) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// diffOf compares two revisions; without numbers the newest with the one before.
func diffOf(newestFirst []resource.Revision, specs Specs, from, to uint64) *SpecDiff {
	if to == 0 && len(newestFirst) > 0 {
		to = newestFirst[0].Revision
	}
	if from == 0 {
		for _, r := range newestFirst {
			if r.Revision < to {
				from = r.Revision
				break
			}
		}
	}
	if from == 0 || to == 0 {
		return nil
	}
	d := &SpecDiff{From: from, To: to}
	for _, n := range []uint64{from, to} {
		if specs[n] == nil {
			d.Missing = fmt.Sprintf("the log has no revision %d of it", n)
			return d
		}
	}
	d.Fields = viewdiff.SpecFields(specs[from], *specs[to])
	d.Lines, d.LinesCut = linesOf(specText(specs[from]), specText(specs[to]))
	return d
}

// yamlOf writes JSON as YAML; what is no JSON stays as it is.
func yamlOf(b json.RawMessage) string {
	if len(b) == 0 {
		return ""
	}
	y, err := yaml.JSONToYAML(b)
	if err != nil {
		return string(b)
	}
	return string(y)
}
