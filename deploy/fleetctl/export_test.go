package fleetctl

import "fleet.nationtech.io/projections/fleet"

// PrintAt prints a view as get does at the view's sequence, for comparing what
// get finds by itself with a fold of the test's own.
func PrintAt(s Streams, v *fleet.View, output string, args ...string) error {
	q, err := getFlags{allNamespaces: true}.query(s, args)
	if err != nil {
		return err
	}
	w, err := newShow(s, q, output, false)
	if err != nil {
		return err
	}
	found, missing := q.find(s, newCatalog(v, v.Recorded), true)
	if missing != nil {
		return missing
	}
	return w.all(found, v.Sequence)
}
