package model

import (
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

// ChangesOf compares two views.
func ChangesOf(a, b *fleet.View, from, to Moment, number, size int) Changes {
	out := Changes{From: from, To: to}
	out.Changes, out.Page = pageOf(viewdiff.Between(a, b), number, size)
	if out.Changes == nil {
		out.Changes = []viewdiff.Change{}
	}
	return out
}
