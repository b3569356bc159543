package fleetctl

import (
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// PrintAt prints a view as get does at the view's sequence, for comparing what
// get finds by itself with a fold of the test's own.
func PrintAt(s cli.Streams, v *fleet.View, output string, args ...string) error {
	q, err := getFlags{allNamespaces: true}.query(s, args)
	if err != nil {
		return err
	}
	w, err := render.NewObjects(s, q, output, false)
	if err != nil {
		return err
	}
	c := resource.NewCatalog(v, v.Recorded)
	found, missing := q.Find(c)
	if err := notFound(s, q, c, missing, true); err != nil {
		return err
	}
	return w.WriteAll(found, v.Sequence)
}

// ReportLogins says why a device gets in or not.
var ReportLogins = reportLogins
