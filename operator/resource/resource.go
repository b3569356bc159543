// Package resource shows a view of the fleet as the objects and table cells that
// Kubernetes would have. It is pure, and has the words of fleetctl and of the dashboard.
package resource

import (
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/projections/fleet"
)

// Resource is a kind of object that can be asked for, in kubectl's words.
type Resource struct {
	Plural, Singular, kind string
	aliases                []string
	Namespaced             bool
	Columns                []column
	Exists                 func(*Catalog, fleet.Key) bool
	item                   func(*Catalog, fleet.Key) Item
}

// column is one of a table.
type column struct {
	Name  string
	Shown appearance
}

// appearance is when a column shows, and whether what it shows changes by time
// alone.
type appearance int

const (
	always appearance = iota
	wide              // with -o wide alone
	age               // always, and it grows older by itself
	wideAge
)

func (a appearance) Wide() bool { return a == wide || a == wideAge }
func (a appearance) Ages() bool { return a == age || a == wideAge }

// Item is one object that was found.
type Item struct {
	Resource *Resource
	Key      fleet.Key
	Object   any      // for JSON and YAML
	Cells    []string // a column each, the name excepted
}

// resources lists what can be asked for.
func resources() []*Resource {
	return []*Resource{Deployments(), Devices(), rolloutResource()}
}

// ByWord reads a kind by any of its names, with or without its group.
func ByWord(word string) (*Resource, error) {
	plain := strings.TrimSuffix(strings.ToLower(word), "."+v1alpha1.GroupName)
	for _, r := range resources() {
		if slices.Contains(r.words(), plain) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("unknown kind %q; kinds: %s", word, strings.Join(Plurals(), ", "))
}

func (r *Resource) words() []string {
	return append([]string{r.Plural, r.Singular}, r.aliases...)
}

// Show gives a resource as an item.
func (r *Resource) Show(c *Catalog, key fleet.Key) Item {
	i := r.item(c, key)
	i.Resource = r
	return i
}

// Keys lists what there is, sorted.
func (r *Resource) Keys(c *Catalog) []fleet.Key {
	var out []fleet.Key
	if !r.Namespaced { // a device has no namespace
		for id := range c.View.Devices {
			if key := (fleet.Key{Name: id}); r.Exists(c, key) {
				out = append(out, key)
			}
		}
		return SortKeys(out)
	}
	for key := range c.View.Deployments {
		if r.Exists(c, key) {
			out = append(out, key)
		}
	}
	return SortKeys(out)
}

// QualifiedName names a thing as kubectl get -o name does.
func (r *Resource) QualifiedName(name string) string {
	return r.Singular + "." + v1alpha1.GroupName + "/" + name
}

// Plurals lists the kinds, by their plural names.
func Plurals() []string {
	var out []string
	for _, r := range resources() {
		out = append(out, r.Plural)
	}
	return out
}
