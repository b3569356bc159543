package fleetctl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/projections/fleet"
)

const (
	outputTable = "table"
	outputWide  = "wide"
	outputYAML  = "yaml"
	outputName  = "name"
)

func outputs() []string {
	return []string{outputTable, outputWide, outputJSON, outputYAML, outputName}
}

// show writes what get found, in one of the forms that kubectl has.
type show struct {
	s      Streams
	q      query
	output string
	watch  bool
	tables map[string]*table // by the resource's plural
	open   bool              // a table was begun
}

func newShow(s Streams, q query, output string, watch bool) (*show, error) {
	if output == "" {
		output = outputTable
	}
	for _, o := range outputs() {
		if o == output {
			return &show{s: s, q: q, output: output, watch: watch, tables: map[string]*table{}}, nil
		}
	}
	return nil, fmt.Errorf("-o %q is none of the outputs %s", output, strings.Join(outputs(), ", "))
}

// forPeople says whether words beside the answer help.
func (w *show) forPeople() bool { return w.output == outputTable || w.output == outputWide }

// all writes what is there to begin with, as the log knew it at a sequence.
func (w *show) all(items []item, sequence uint64) error {
	switch w.output {
	case outputJSON, outputYAML:
		if w.watch {
			for _, i := range items {
				if err := w.changed(i, watchAdded); err != nil {
					return err
				}
			}
			return nil
		}
		return w.document(items, sequence)
	case outputName:
		for _, i := range items {
			w.s.tell("%s\n", i.resource.qualified(i.key.Name))
		}
		return nil
	}
	for _, t := range w.q.targets {
		var of []item
		for _, i := range items {
			if i.resource.plural == t.resource.plural {
				of = append(of, i)
			}
		}
		w.rows(t.resource, of)
	}
	return nil
}

// Types of watch events, as in the Kubernetes API.
const (
	watchAdded    = "ADDED"
	watchModified = "MODIFIED"
	watchDeleted  = "DELETED"
)

type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// changed writes one thing anew.
func (w *show) changed(i item, kind string) error {
	switch w.output {
	case outputName:
		w.s.tell("%s\n", i.resource.qualified(i.key.Name))
	case outputTable, outputWide:
		if kind == watchDeleted {
			i.cells = append(slices.Clone(i.cells), "deleted")
		}
		w.rows(i.resource, []item{i})
	default:
		b, err := json.Marshal(watchEvent{kind, i.object})
		if err != nil {
			return failed(fmt.Errorf("encode %s %s: %w", i.resource.singular, i.key, err), "")
		}
		if w.output == outputYAML {
			if b, err = yaml.JSONToYAML(b); err != nil {
				return failed(fmt.Errorf("encode %s %s: %w", i.resource.singular, i.key, err), "")
			}
			b = append([]byte("---\n"), b...)
		}
		w.s.tell("%s\n", strings.TrimSuffix(string(b), "\n"))
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
func (w *show) document(items []item, sequence uint64) error {
	var o any
	if t := w.q.targets; len(t) == 1 && len(t[0].names) == 1 {
		if len(items) == 0 {
			return nil // the error says so
		}
		if len(items) == 1 {
			o = items[0].object
		}
	}
	if o == nil {
		l := list{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"},
			Metadata: metav1.ListMeta{ResourceVersion: strconv.FormatUint(sequence, 10)}, Items: []any{},
		}
		for _, i := range items {
			l.Items = append(l.Items, i.object)
		}
		o = l
	}
	b, err := json.MarshalIndent(o, "", "    ")
	if err != nil {
		return failed(fmt.Errorf("encode the answer: %w", err), "")
	}
	if w.output == outputYAML {
		if b, err = yaml.JSONToYAML(b); err != nil {
			return failed(fmt.Errorf("encode the answer: %w", err), "")
		}
	}
	w.s.tell("%s\n", strings.TrimSuffix(string(b), "\n"))
	return nil
}

// rows writes a table's rows, below its head where that is not there yet.
func (w *show) rows(r *resource, items []item) {
	if len(items) == 0 {
		return
	}
	var rows [][]string
	t := w.tables[r.plural]
	if t == nil {
		if w.open {
			w.s.tell("\n")
		}
		t = &table{s: w.s}
		w.tables[r.plural], w.open = t, true
		rows = append(rows, w.row(r, fleet.Key{Namespace: "NAMESPACE", Name: "NAME"}, heads(r)))
	}
	for _, i := range items {
		key := i.key
		if len(w.q.targets) > 1 {
			key.Name = r.singular + "/" + key.Name
		}
		rows = append(rows, w.row(r, key, i.cells))
	}
	t.print(rows...)
}

func (w *show) row(r *resource, key fleet.Key, cells []string) []string {
	var out []string
	if r.namespaced && w.q.namespace == "" {
		out = append(out, key.Namespace)
	}
	out = append(out, key.Name)
	for i, cell := range cells {
		// Beyond the columns there may be a word about the whole row.
		if i >= len(r.columns) || !r.columns[i].shown.wide() || w.output == outputWide {
			out = append(out, printable(cell))
		}
	}
	return out
}

// fingerprint is what a person sees of a thing, but for what changes by time
// alone.
func (w *show) fingerprint(i item) (string, error) {
	if !w.forPeople() {
		b, err := json.Marshal(i.object)
		if err != nil {
			return "", failed(fmt.Errorf("encode %s %s: %w", i.resource.singular, i.key, err), "")
		}
		return string(b), nil
	}
	var seen []string
	for n, c := range i.resource.columns {
		if !c.shown.ages() && (!c.shown.wide() || w.output == outputWide) {
			seen = append(seen, i.cells[n])
		}
	}
	return strings.Join(seen, "\x00"), nil
}

func heads(r *resource) []string {
	out := make([]string, len(r.columns))
	for i, c := range r.columns {
		out[i] = c.name
	}
	return out
}
