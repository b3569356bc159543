package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Category names all the resources that Kubernetes has too, as the category of
// the CRDs does.
const Category = "fleet"

// Target is a kind, and the names of it that a person asked for.
type Target struct {
	Resource *Resource
	Names    []string // none: all that there are
}

// ParseTargets reads a command line as kubectl does: KIND[,KIND] [NAME…], or
// KIND/NAME….
func ParseTargets(args []string) ([]Target, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("missing kind; kinds: %s", strings.Join(Plurals(), ", "))
	}
	if strings.Contains(args[0], "/") {
		return parseNamed(args)
	}
	var out []Target
	for word := range strings.SplitSeq(args[0], ",") {
		if word == Category {
			out = append(out, Target{Resource: Deployments()}, Target{Resource: Devices()})
			continue
		}
		r, err := ByWord(word)
		if err != nil {
			return nil, err
		}
		out = append(out, Target{Resource: r})
	}
	for _, name := range args[1:] {
		if strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q: give the kind once: KIND NAME, or KIND/NAME", name)
		}
		for i := range out {
			if err := out[i].add(name); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func parseNamed(args []string) ([]Target, error) {
	var out []Target
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form KIND/NAME, as the first is", arg)
		}
		r, err := ByWord(word)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(t Target) bool { return t.Resource.Plural == r.Plural })
		if i < 0 {
			i = len(out)
			out = append(out, Target{Resource: r})
		}
		if err := out[i].add(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *Target) add(name string) error {
	if err := eventlog.CheckName(t.Resource.Singular, name); err != nil {
		return err
	}
	if !slices.Contains(t.Names, name) {
		t.Names = append(t.Names, name)
	}
	return nil
}

// Query is what a person looks for: resources by kind, name, namespace and labels.
type Query struct {
	Targets   []Target
	Namespace string // empty: all
	Selector  labels.Selector
}

// Wants says whether something that is there is looked for by a target.
func (q Query) Wants(c *Catalog, t Target, key fleet.Key) bool {
	if len(t.Names) > 0 && !slices.Contains(t.Names, key.Name) {
		return false
	}
	if t.Resource.Namespaced {
		return q.Namespace == "" || q.Namespace == key.Namespace
	}
	return q.Selector == nil || c.labelsMatch(key.Name, func(m map[string]string) bool { return q.Selector.Matches(labels.Set(m)) })
}

// NothingFound is what kubectl says when there is nothing.
func (q Query) NothingFound() string {
	for _, t := range q.Targets {
		if !t.Resource.Namespaced || q.Namespace == "" {
			return "No resources found"
		}
	}
	return fmt.Sprintf("No resources found in %s namespace.", q.Namespace)
}

// SortKeys sorts keys by namespace and name, in place.
func SortKeys(keys []fleet.Key) []fleet.Key {
	slices.SortFunc(keys, func(a, b fleet.Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return keys
}

// Find gives what is there of what a person looks for, in the order of the targets,
// and the names that are not there.
func (q Query) Find(c *Catalog) (found []Item, missing []Ref) {
	for _, t := range q.Targets {
		for _, key := range t.Resource.Keys(c) {
			if q.Wants(c, t, key) {
				found = append(found, t.Resource.Show(c, key))
			}
		}
		for _, name := range t.Names {
			if !slices.ContainsFunc(found, func(i Item) bool { return i.Resource.Plural == t.Resource.Plural && i.Key.Name == name }) {
				missing = append(missing, Ref{t.Resource, name})
			}
		}
	}
	return found, missing
}
