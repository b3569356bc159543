package model

import (
	"cmp"
	"slices"
	"time"

	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Rollout is the newest rollout of a Deployment.
type Rollout struct {
	Moment   Moment            `json:"moment"`
	Progress resource.Progress `json:"progress"`
	// Batches has the devices of each batch, in the order in which they are given the
	// revision. Those of no batch come first.
	Batches []BatchCells `json:"batches"`
	Budgets []Budget     `json:"budgets"`
	Gates   []Gate       `json:"gates"` // of the open batch, as they answered last
	// Actions are what a person can ask about it now, and Seen is what the request then says
	// that its author saw. There are none at a moment of the past.
	Actions []resource.Action `json:"actions,omitempty"`
	Seen    *Seen             `json:"seen,omitempty"`
}

// BatchCells are the devices of a batch.
type BatchCells struct {
	Number int             `json:"number"` // 0: of no batch
	Cells  []resource.Cell `json:"cells"`
}

// Budget is how much of a DisruptionBudget is used.
type Budget struct {
	Name      string            `json:"name"`
	Matched   int               `json:"matched"` // devices that it selects
	Down      int               `json:"down"`
	Allowed   int               `json:"allowed"`   // in the tightest group
	Remaining int               `json:"remaining"` // there
	Tightest  map[string]string `json:"tightest,omitempty"`
	Waiting   int               `json:"waiting"` // devices that wait for it
}

// Gate is what a gate answered last.
type Gate struct {
	Name    string    `json:"name"`
	Server  string    `json:"server"`
	Verdict string    `json:"verdict"`
	Value   *float64  `json:"value,omitempty"`
	Error   string    `json:"error,omitempty"`
	Since   time.Time `json:"since"` // the verdict has been so
}

// RolloutOf shows the newest rollout of a Deployment; false where the log does not know the
// Deployment.
func RolloutOf(c *resource.Catalog, now bool, key fleet.Key) (out Rollout, known bool) {
	p, ok := c.Progress(key, namedDevices)
	if !ok {
		return out, false
	}
	out = Rollout{Moment: MomentOf(c, now), Progress: p, Batches: []BatchCells{}, Budgets: budgetsOf(c), Gates: []Gate{}}
	for _, cell := range c.Cells(key) {
		out.add(cell)
	}
	slices.SortFunc(out.Batches, func(a, b BatchCells) int { return cmp.Compare(a.Number, b.Number) })
	for _, g := range c.View.Deployments[key].Run.Gates {
		out.Gates = append(out.Gates, Gate{Name: g.Name, Server: g.Server, Verdict: g.Verdict, Value: g.Value, Error: g.Error, Since: g.Since.UTC()})
	}
	if now {
		s := seen(c, key)
		out.Actions, out.Seen = c.RolloutActions(key), &s
	}
	return out, true
}

// add puts a cell into its batch.
func (r *Rollout) add(cell resource.Cell) {
	for i := range r.Batches {
		if r.Batches[i].Number == cell.Batch {
			r.Batches[i].Cells = append(r.Batches[i].Cells, cell)
			return
		}
	}
	r.Batches = append(r.Batches, BatchCells{Number: cell.Batch, Cells: []resource.Cell{cell}})
}

func budgetsOf(c *resource.Catalog) []Budget {
	out := []Budget{}
	for _, u := range c.BudgetUses() {
		out = append(out, Budget{
			Name: u.Name, Matched: u.Matched, Down: u.Down, Allowed: u.Allowed, Remaining: u.Remaining, Tightest: u.Tightest, Waiting: u.Blocked,
		})
	}
	return out
}
