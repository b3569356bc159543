package model

import (
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// Changes are in what the fleet differs at two moments.
type Changes struct {
	From    Moment            `json:"from"`
	To      Moment            `json:"to"`
	Page    Page              `json:"page"`
	Changes []viewdiff.Change `json:"changes"`
}

// ChangeFilter says which changes a list has.
type ChangeFilter struct {
	About viewdiff.Topic // empty: all
	Text  string         // part of the name of the Deployment or of the device
	Page  int
	Size  int
}

// ChangeTopics are what changes can be about.
func ChangeTopics() []string {
	return []string{string(viewdiff.AboutDeployment), string(viewdiff.AboutDevice), string(viewdiff.AboutAssignment), string(viewdiff.AboutState)}
}

// Subjects are those of the events that change what the filter is about; none: any may.
func (f ChangeFilter) Subjects() []string {
	switch f.About {
	case viewdiff.AboutDeployment:
		return []string{eventlog.FamilySubjects(eventlog.FamilyDeployment)}
	case viewdiff.AboutDevice:
		return []string{eventlog.FamilySubjects(eventlog.FamilyDevice), eventlog.FamilySubjects(eventlog.FamilyInfo), eventlog.FamilySubjects(eventlog.FamilyAccess)}
	case viewdiff.AboutAssignment:
		return []string{eventlog.FamilySubjects(eventlog.FamilyDesired)}
	case viewdiff.AboutState:
		return []string{eventlog.FamilySubjects(eventlog.FamilyState)}
	}
	return nil
}

// lets says whether the filter lets a change through.
func (f ChangeFilter) lets(c viewdiff.Change) bool {
	if f.About != "" && c.About != f.About {
		return false
	}
	return strings.Contains(c.Namespace+"/"+c.Deployment, f.Text) || strings.Contains(c.Device, f.Text)
}

// ChangesOf compares two views.
func ChangesOf(a, b *fleet.View, from, to Moment, f ChangeFilter) Changes {
	out := Changes{From: from, To: to}
	all := slices.DeleteFunc(viewdiff.Between(a, b), func(c viewdiff.Change) bool { return !f.lets(c) })
	if out.Changes, out.Page = pageOf(all, f.Page, f.Size); out.Changes == nil {
		out.Changes = []viewdiff.Change{}
	}
	return out
}
