package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

// budgetUse is a DisruptionBudget on the devices that it selects.
type budgetUse struct {
	name   string
	budget *fleet.Budget
	groups map[string]*budgetGroup
}

// budgetGroup is the devices of a budget with the same values of its groupBy labels:
// they share one budget.
type budgetGroup struct {
	of      *budgetUse
	values  string
	members int
	down    []string
}

// most is how many devices of the group may be down.
func (g *budgetGroup) most() int {
	if g.of.budget.MaxUnavailable != nil {
		return g.of.budget.MaxUnavailable.Of(g.members)
	}
	return max(0, g.members-g.of.budget.MinAvailable.Of(g.members))
}

func (g *budgetGroup) wait() Wait {
	slices.Sort(g.down)
	w := Wait{
		Kind: WaitBudget, Name: g.of.name, Group: g.values, Sequence: g.of.budget.Applied.Sequence,
		Devices: g.down[:min(len(g.down), maxNamed)],
	}
	of := ""
	if g.values != "" {
		of = " of group " + g.values
	}
	w.Message = fmt.Sprintf("DisruptionBudget %s allows %s%s to be down, and %d %s", g.of.name, DevicesText(g.most()), of, len(g.down), Verb(len(g.down), "is", "are"))
	if len(g.down) > 0 {
		w.Message += ": " + strings.Join(w.Devices, ", ")
		if more := len(g.down) - len(w.Devices); more > 0 {
			w.Message += fmt.Sprintf(" and %d more", more)
		}
	}
	return w
}

// useBudgets counts the devices of each budget, once.
func (s *Survey) useBudgets() {
	if s.counted {
		return
	}
	s.counted = true
	for _, name := range slices.Sorted(maps.Keys(s.view.Budgets)) {
		b := s.view.Budgets[name]
		if !b.Binds() || b.MaxUnavailable == nil && b.MinAvailable == nil {
			continue
		}
		u := &budgetUse{name: name, budget: b, groups: map[string]*budgetGroup{}}
		s.budgets = append(s.budgets, u)
		for _, dev := range s.view.Devices {
			values, selected := u.selects(dev)
			if !selected {
				continue
			}
			g := u.groups[values]
			if g == nil {
				g = &budgetGroup{of: u, values: values}
				u.groups[values] = g
			}
			g.members++
			if dev.Down() {
				g.down = append(g.down, dev.ID)
			}
		}
	}
}

// selects gives the group of a device that the budget selects, as label=value.
func (u *budgetUse) selects(dev *fleet.Device) (group string, ok bool) {
	if dev.Labels == nil || dev.Out() {
		return "", false
	}
	labels := selectors.Bare(dev.Labels)
	if !selectors.Selects(u.budget.Selector, labels) {
		return "", false
	}
	parts := make([]string, len(u.budget.GroupBy))
	for i, k := range u.budget.GroupBy {
		parts[i] = k + "=" + labels[k]
	}
	return strings.Join(parts, ","), true
}

// budgeted says whether a DisruptionBudget selects a device.
func (s *Survey) budgeted(dev *fleet.Device) bool {
	s.useBudgets()
	return slices.ContainsFunc(s.budgets, func(u *budgetUse) bool {
		_, ok := u.selects(dev)
		return ok
	})
}

// fullBudget gives the group of a budget that has no room for the device to go down;
// nil: each has.
func (s *Survey) fullBudget(dev *fleet.Device) *budgetGroup {
	if dev.Down() {
		return nil
	}
	s.useBudgets()
	for _, u := range s.budgets {
		values, ok := u.selects(dev)
		if ok && u.groups[values] != nil && len(u.groups[values].down) >= u.groups[values].most() {
			return u.groups[values]
		}
	}
	return nil
}
