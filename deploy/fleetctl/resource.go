package fleetctl

import (
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// resource is a kind of thing that can be asked for, in kubectl's words.
type resource struct {
	plural, singular, kind string
	aliases                []string
	namespaced             bool
	columns                []column
	there                  func(*catalog, fleet.Key) bool
	item                   func(*catalog, fleet.Key) item
}

// column is one of a table.
type column struct {
	name  string
	shown appearance
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

func (a appearance) wide() bool { return a == wide || a == wideAge }
func (a appearance) ages() bool { return a == age || a == wideAge }

// item is one thing that was asked for.
type item struct {
	resource *resource
	key      fleet.Key
	object   any      // for JSON and YAML
	cells    []string // a column each, the name excepted
}

// resources lists what can be asked for.
func resources() []*resource {
	return []*resource{deploymentResource(), deviceResource(), rolloutResource()}
}

// category names all the resources that Kubernetes has too, as the category of
// the CRDs does.
const category = "fleet"

// target is which things a person asked for.
type target struct {
	resource *resource
	names    []string // none: all that there are
}

// parseTargets reads a command line as kubectl does: KIND[,KIND] [NAME…], or
// KIND/NAME….
func parseTargets(args []string) ([]target, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("say what to get: %s", strings.Join(resourceWords(), ", "))
	}
	if strings.Contains(args[0], "/") {
		return parseNamed(args)
	}
	var out []target
	for word := range strings.SplitSeq(args[0], ",") {
		if word == category {
			out = append(out, target{resource: deploymentResource()}, target{resource: deviceResource()})
			continue
		}
		r, err := resourceOf(word)
		if err != nil {
			return nil, err
		}
		out = append(out, target{resource: r})
	}
	for _, name := range args[1:] {
		if strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q: where the kind is given apart, a name has none", name)
		}
		for i := range out {
			if err := out[i].add(name); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func parseNamed(args []string) ([]target, error) {
	var out []target
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form KIND/NAME, as the first is", arg)
		}
		r, err := resourceOf(word)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(t target) bool { return t.resource.plural == r.plural })
		if i < 0 {
			i = len(out)
			out = append(out, target{resource: r})
		}
		if err := out[i].add(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *target) add(name string) error {
	if err := eventlog.CheckName(t.resource.singular, name); err != nil {
		return err
	}
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
	return nil
}

// resourceOf reads a kind by any of its names, with or without its group.
func resourceOf(word string) (*resource, error) {
	plain := strings.TrimSuffix(strings.ToLower(word), "."+v1alpha1.GroupName)
	for _, r := range resources() {
		if slices.Contains(r.words(), plain) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("there is no kind of thing called %q; there are: %s", word, strings.Join(resourceWords(), ", "))
}

func (r *resource) words() []string {
	return append([]string{r.plural, r.singular}, r.aliases...)
}

// of shows a thing.
func (r *resource) of(c *catalog, key fleet.Key) item {
	i := r.item(c, key)
	i.resource = r
	return i
}

// keys lists what there is, sorted.
func (r *resource) keys(c *catalog) []fleet.Key {
	var out []fleet.Key
	if !r.namespaced { // a device has no namespace
		for id := range c.view.Devices {
			if key := (fleet.Key{Name: id}); r.there(c, key) {
				out = append(out, key)
			}
		}
		return sorted(out)
	}
	for key := range c.view.Deployments {
		if r.there(c, key) {
			out = append(out, key)
		}
	}
	return sorted(out)
}

// qualified names a thing as kubectl get -o name does.
func (r *resource) qualified(name string) string {
	return r.singular + "." + v1alpha1.GroupName + "/" + name
}

func resourceWords() []string {
	var out []string
	for _, r := range resources() {
		out = append(out, r.plural)
	}
	return out
}
