package predicate

import (
	"bytes"
	"encoding/json"
	"fmt"

	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Objects are a view as a predicate sees it. Each kind is made when it is first looked at.
type Objects struct {
	view    *fleet.View
	catalog *resource.Catalog
	made    map[string]map[string]any
	failed  error
}

// NewObjects shows a view as of its own moment.
func NewObjects(v *fleet.View) *Objects { return &Objects{view: v, made: map[string]map[string]any{}} }

// JSON is all that a predicate sees, as one document.
func (o *Objects) JSON() ([]byte, error) {
	all := map[string]any{
		"deployments": o.deployments(), "devices": o.devices(), "rollouts": o.rollouts(), "budgets": o.budgets(),
		"now": o.view.Recorded, "sequence": o.view.Sequence,
	}
	if o.failed != nil {
		return nil, o.failed
	}
	return json.Marshal(all)
}

func (o *Objects) deployments() map[string]any { return o.kind("deployments") }
func (o *Objects) devices() map[string]any     { return o.kind("devices") }
func (o *Objects) rollouts() map[string]any    { return o.kind("rollouts") }

// kind gives the objects of a kind, by their names.
func (o *Objects) kind(plural string) map[string]any {
	if m := o.made[plural]; m != nil {
		return m
	}
	m := map[string]any{}
	o.made[plural] = m
	if o.catalog == nil {
		o.catalog = resource.NewCatalog(o.view, o.view.Recorded)
	}
	r, err := resource.ByWord(plural)
	if err != nil {
		o.fail(err)
		return m
	}
	for _, key := range r.Keys(o.catalog) {
		name := key.Name
		if r.Namespaced {
			name = key.String()
		}
		m[name] = o.plain(r.Show(o.catalog, key).Object)
	}
	return m
}

// budgets are the DisruptionBudgets, as the log has it.
func (o *Objects) budgets() map[string]any {
	if m := o.made["budgets"]; m != nil {
		return m
	}
	m := map[string]any{}
	o.made["budgets"] = m
	for name, b := range o.view.Budgets {
		one, ok := o.plain(b.Budget).(map[string]any)
		if ok {
			one["missing"] = b.Missing
			m[name] = one
		}
	}
	return m
}

// plain is an object as its JSON says it, with whole numbers as such.
func (o *Objects) plain(object any) any {
	b, err := json.Marshal(object)
	if err != nil {
		o.fail(err)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		o.fail(err)
	}
	return numbers(out)
}

func (o *Objects) fail(err error) {
	if o.failed == nil {
		o.failed = fmt.Errorf("show the fleet at sequence %d: %w", o.view.Sequence, err)
	}
}

// numbers makes whole numbers of those that are, in place.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			v[k] = numbers(one)
		}
	case []any:
		for i, one := range v {
			v[i] = numbers(one)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	}
	return v
}
