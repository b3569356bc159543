package resource

import (
	"maps"
	"slices"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Cell is a device in a picture of a rollout.
type Cell struct {
	Device   string `json:"device"`
	Batch    int    `json:"batch"` // from 1; 0: in none
	Standing string `json:"standing"`
	Online   bool   `json:"online"`
	Soaks    bool   `json:"soaks,omitempty"` // it is healthy, and its soak goes on
}

// Cells gives the devices that a Deployment matches, in the order in which they are given
// a revision; none where nothing is decided about the Deployment.
func (c *Catalog) Cells(key fleet.Key) []Cell {
	c.tick()
	shown, ok := c.state.Shown(key)
	if !ok {
		return nil
	}
	out := make([]Cell, len(shown.Devices))
	for i := range shown.Devices {
		d := &shown.Devices[i]
		out[i] = Cell{Device: d.ID, Batch: d.Batch, Standing: d.Standing.String(), Online: d.Online, Soaks: !d.Soaked.IsZero()}
	}
	return out
}

// NamedBudgetUse is how much of a DisruptionBudget is used.
type NamedBudgetUse struct {
	Name string
	decide.BudgetUse
}

// BudgetUses gives how much of each DisruptionBudget that binds is used, by name.
func (c *Catalog) BudgetUses() []NamedBudgetUse {
	c.tick()
	var out []NamedBudgetUse
	for _, name := range slices.Sorted(maps.Keys(c.budgets)) {
		if u, ok := c.state.BudgetUse(name); ok {
			out = append(out, NamedBudgetUse{name, u})
		}
	}
	return out
}
