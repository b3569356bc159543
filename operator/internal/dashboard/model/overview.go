package model

import (
	"time"

	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/attention"
)

// inOverview is how many rows a list of the overview has at most.
const inOverview = 50

// Overview says whether the fleet is well.
type Overview struct {
	Moment   Moment       `json:"moment"`
	Devices  DeviceCounts `json:"devices"`
	Total    int          `json:"deployments"`
	NotReady int          `json:"deployments_not_ready"`
	Moving   int          `json:"rollouts_on_their_way"` // or paused
	// Attention is what needs a person, the heaviest first.
	Attention []attention.Item `json:"attention"`
	// MoreAttention is how many items are left out, which weigh no more.
	MoreAttention int             `json:"more_attention"`
	Rollouts      []DeploymentRow `json:"rollouts"` // the first that are on their way
}

// Present is what the servers say of the present, and the log does not.
type Present struct {
	Facts attention.Facts
	Ahead time.Duration // how far their clock is ahead of this machine's
}

// OverviewOf says whether the fleet is well.
func OverviewOf(c *resource.Catalog, now bool, p Present) Overview {
	out := Overview{Moment: MomentOf(c, now), Rollouts: []DeploymentRow{}, Attention: []attention.Item{}}
	clock, facts := c.Now, attention.Facts{}
	if now && !c.Happened {
		clock, facts = c.Now.Add(p.Ahead), p.Facts
	}
	all := attention.Of(c.View, clock, facts)
	out.Attention = append(out.Attention, all[:min(len(all), inOverview)]...)
	out.MoreAttention = len(all) - len(out.Attention)
	for _, key := range resource.Deployments().Keys(c) {
		row, _ := rowOf(c, key)
		out.Total++
		if row.Ready != "True" {
			out.NotReady++
		}
		if row.Rollout.Moves() {
			if out.Moving++; len(out.Rollouts) < inOverview {
				out.Rollouts = append(out.Rollouts, row)
			}
		}
	}
	out.Devices = countsOf(c, resource.Devices().Keys(c))
	return out
}
