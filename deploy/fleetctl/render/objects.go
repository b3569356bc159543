package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Objects writes what get found, in one of the forms that kubectl has.
type Objects struct {
	s      cli.Streams
	q      resource.Query
	output string
	watch  bool
	tables map[string]*table // by the resource's plural
	open   bool              // a table was begun
}

// NewObjects makes a writer of objects for an output; empty is a table.
func NewObjects(s cli.Streams, q resource.Query, output string, watch bool) (*Objects, error) {
	if output == "" {
		output = OutputTable
	}
	for _, o := range Outputs() {
		if o == output {
			return &Objects{s: s, q: q, output: output, watch: watch, tables: map[string]*table{}}, nil
		}
	}
	return nil, fmt.Errorf("unknown output %q; -o takes one of %s", output, strings.Join(Outputs(), ", "))
}

// ForPeople says whether words beside the answer help.
func (w *Objects) ForPeople() bool { return w.output == OutputTable || w.output == outputWide }

// WriteAll writes what is there to begin with, as the log knew it at a sequence.
func (w *Objects) WriteAll(items []resource.Item, sequence uint64) error {
	switch w.output {
	case OutputJSON, OutputYAML:
		if w.watch {
			for _, i := range items {
				if err := w.WriteChange(i, WatchAdded); err != nil {
					return err
				}
			}
			return nil
		}
		return w.document(items, sequence)
	case outputName:
		for _, i := range items {
			w.s.Tell("%s\n", i.Resource.QualifiedName(i.Key.Name))
		}
		return nil
	}
	for _, t := range w.q.Targets {
		var of []resource.Item
		for _, i := range items {
			if i.Resource.Plural == t.Resource.Plural {
				of = append(of, i)
			}
		}
		w.rows(t.Resource, of)
	}
	return nil
}

// Types of watch events, as in the Kubernetes API.
const (
	WatchAdded    = "ADDED"
	WatchModified = "MODIFIED"
	WatchDeleted  = "DELETED"
)

type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// WriteChange writes one thing again.
func (w *Objects) WriteChange(i resource.Item, kind string) error {
	switch w.output {
	case outputName:
		w.s.Tell("%s\n", i.Resource.QualifiedName(i.Key.Name))
	case OutputTable, outputWide:
		if kind == WatchDeleted {
			i.Cells = append(slices.Clone(i.Cells), "deleted")
		}
		w.rows(i.Resource, []resource.Item{i})
	default:
		b, err := json.Marshal(watchEvent{kind, i.Object})
		if err != nil {
			return cli.Failed(fmt.Errorf("encode %s %s: %w", i.Resource.Singular, i.Key, err), "")
		}
		if w.output == OutputYAML {
			if b, err = yaml.JSONToYAML(b); err != nil {
				return cli.Failed(fmt.Errorf("encode %s %s: %w", i.Resource.Singular, i.Key, err), "")
			}
			b = append([]byte("---\n"), b...)
		}
		w.s.Tell("%s\n", strings.TrimSuffix(string(b), "\n"))
	}
	return nil
}

// list is a List as kubectl prints it. Its resourceVersion is the sequence of the
// log that it is true of.
type list struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ListMeta `json:"metadata"`
	Items           []any           `json:"items"`
}

// document writes one object where one was asked for by its name, else a List.
func (w *Objects) document(items []resource.Item, sequence uint64) error {
	var o any
	if t := w.q.Targets; len(t) == 1 && len(t[0].Names) == 1 {
		if len(items) == 0 {
			return nil // the error says so
		}
		if len(items) == 1 {
			o = items[0].Object
		}
	}
	if o == nil {
		l := list{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"},
			Metadata: metav1.ListMeta{ResourceVersion: strconv.FormatUint(sequence, 10)}, Items: []any{},
		}
		for _, i := range items {
			l.Items = append(l.Items, i.Object)
		}
		o = l
	}
	b, err := json.MarshalIndent(o, "", "    ")
	if err != nil {
		return cli.Failed(fmt.Errorf("encode the answer: %w", err), "")
	}
	if w.output == OutputYAML {
		if b, err = yaml.JSONToYAML(b); err != nil {
			return cli.Failed(fmt.Errorf("encode the answer: %w", err), "")
		}
	}
	w.s.Tell("%s\n", strings.TrimSuffix(string(b), "\n"))
	return nil
}

// rows writes a table's rows, below its head where that is not there yet.
func (w *Objects) rows(r *resource.Resource, items []resource.Item) {
	if len(items) == 0 {
		return
	}
	var rows [][]string
	t := w.tables[r.Plural]
	if t == nil {
		if w.open {
			w.s.Tell("\n")
		}
		t = &table{s: w.s}
		w.tables[r.Plural], w.open = t, true
		rows = append(rows, w.row(r, fleet.Key{Namespace: "NAMESPACE", Name: "NAME"}, heads(r)))
	}
	for _, i := range items {
		key := i.Key
		if len(w.q.Targets) > 1 {
			key.Name = r.Singular + "/" + key.Name
		}
		rows = append(rows, w.row(r, key, i.Cells))
	}
	t.print(rows...)
}

func (w *Objects) row(r *resource.Resource, key fleet.Key, cells []string) []string {
	var out []string
	if r.Namespaced && w.q.Namespace == "" {
		out = append(out, key.Namespace)
	}
	out = append(out, key.Name)
	for i, cell := range cells {
		// Beyond the columns there may be a word about the whole row.
		if i >= len(r.Columns) || !r.Columns[i].Shown.Wide() || w.output == outputWide {
			out = append(out, Printable(cell))
		}
	}
	return out
}

// Fingerprint is what a person sees of a thing, but for what changes by time
// alone.
func (w *Objects) Fingerprint(i resource.Item) (string, error) {
	if !w.ForPeople() {
		b, err := json.Marshal(i.Object)
		if err != nil {
			return "", cli.Failed(fmt.Errorf("encode %s %s: %w", i.Resource.Singular, i.Key, err), "")
		}
		return string(b), nil
	}
	var seen []string
	for n, c := range i.Resource.Columns {
		if !c.Shown.Ages() && (!c.Shown.Wide() || w.output == outputWide) {
			seen = append(seen, i.Cells[n])
		}
	}
	return strings.Join(seen, "\x00"), nil
}

func heads(r *resource.Resource) []string {
	out := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		out[i] = c.Name
	}
	return out
}
