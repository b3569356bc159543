package fleet

import (
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// Budget is what the log knows of a DisruptionBudget.
type Budget struct {
	eventlog.Budget
	Applied Mark
	// Missing: its object is not there, though nobody was seen deleting it. The cluster's
	// objects may be lost, so it is among those that can be restored.
	Missing bool
}

// Binds says whether the budget bounds anything.
func (b *Budget) Binds() bool { return !b.Missing && b.Problem == "" }

func (v *View) applyBudget(e *eventlog.Event) error {
	name := e.Address.Name
	switch e.Type {
	case eventlog.BudgetApplied:
		b, err := eventlog.Payload[eventlog.Budget](*e)
		if err != nil {
			return err
		}
		v.Budgets[v.intern(name)] = &Budget{Budget: b, Applied: markOf(e)}
	case eventlog.BudgetDeleted:
		end, err := eventlog.Payload[eventlog.BudgetEnd](*e)
		if err != nil {
			return err
		}
		b := v.Budgets[name]
		if b == nil || end.Reason != eventlog.ReasonBudgetMissing {
			delete(v.Budgets, name)
			return nil
		}
		missing := *b // whoever holds the other one goes on reading it
		missing.Missing = true
		v.Budgets[name] = &missing
	}
	return nil
}

func (w *writer) budgets(v *View) {
	w.uint(uint64(len(v.Budgets)))
	for _, name := range slices.Sorted(maps.Keys(v.Budgets)) {
		b := v.Budgets[name]
		w.word(name)
		w.json(b.Budget)
		w.mark(b.Applied)
		w.bool(b.Missing)
	}
}

func (r *reader) budgets(v *View) {
	last := ""
	for i := range r.count() {
		name, b := r.word(), &Budget{}
		r.json(&b.Budget)
		b.Applied, b.Missing = r.mark(), r.bool()
		if i > 0 && name <= last {
			r.fail("budget %q is out of order", name)
			return
		}
		v.Budgets[name], last = b, name
	}
}
