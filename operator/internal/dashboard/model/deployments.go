package model

import (
	"strings"

	"fleet.nationtech.io/operator/resource"
)

// DeploymentFilter says which Deployments a list has.
type DeploymentFilter struct {
	Namespace string // empty: of all
	Text      string // part of the name
	State     string // one of DeploymentStates; empty: all
	Page      int
	Size      int
}

// DeploymentStates are the states by which Deployments are filtered.
func DeploymentStates() []string { return []string{"notready", "rolling", "failing"} }

// Deployments is the list of Deployments.
type Deployments struct {
	Moment      Moment          `json:"moment"`
	Page        Page            `json:"page"`
	Deployments []DeploymentRow `json:"deployments"`
}

// DeploymentsOf lists the Deployments that a filter lets through, by namespace and name.
func DeploymentsOf(c *resource.Catalog, now bool, f DeploymentFilter) Deployments {
	var all []DeploymentRow
	for _, key := range resource.Deployments().Keys(c) {
		if f.Namespace != "" && key.Namespace != f.Namespace || !strings.Contains(key.Name, f.Text) {
			continue
		}
		if row, _ := rowOf(c, key); row.is(f.State) {
			all = append(all, row)
		}
	}
	out := Deployments{Moment: MomentOf(c, now)}
	out.Deployments, out.Page = pageOf(all, f.Page, f.Size)
	if out.Deployments == nil {
		out.Deployments = []DeploymentRow{}
	}
	return out
}

// is says whether a Deployment is in a state of DeploymentStates.
func (r *DeploymentRow) is(state string) bool {
	switch state {
	case "notready":
		return r.Ready != "True"
	case "rolling":
		return r.Rollout.Moves()
	case "failing":
		return r.Failed > 0
	}
	return true
}
