// Package endpoint has the pages that there are, each with its JSON: where it is, which parameters
// it takes, and how what it shows is made of the fold and of the log.
package endpoint

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// Endpoint is one page, and its JSON.
type Endpoint struct {
	Page       string // as package page calls it
	Path, API  string // patterns; API empty: another API has it
	Parameters []string
	load       func(context.Context, *Loader, Question) (Shown, error)
}

// All are the pages that there are.
func All() []Endpoint {
	return []Endpoint{
		{page.Overview, "/{$}", respond.APIPath + "overview", []string{"at", page.Axis}, overview},
		{page.Deployments, "/deployments", respond.APIPath + "deployments", []string{"at", page.Axis, "namespace", "name", "state", "page", "size"}, deploymentList},
		{page.Deployment, "/deployments/{namespace}/{name}", respond.APIPath + "deployments/{namespace}/{name}", []string{"at", page.Axis, "compare", "with"}, deployment},
		{page.Rollout, "/rollouts/{namespace}/{name}", respond.APIPath + "rollouts/{namespace}/{name}", []string{"at", page.Axis}, rollout},
		{page.Devices, "/devices", respond.APIPath + "devices", []string{"at", page.Axis, "name", "selector", "deployment", "state", "page", "size"}, deviceList},
		{page.Device, "/devices/{device}", respond.APIPath + "devices/{device}", []string{"at", page.Axis}, device},
		{page.Changes, "/changes", respond.APIPath + "changes", []string{"from", "to", page.Axis, "about", "name", "page", "size"}, changes},
		{page.Events, "/events", "", []string{"at", page.Axis, "namespace", "deployment", "device", "type", "only", "before", "after", "limit"}, eventList},
		{page.Event, "/events/{sequence}", respond.APIPath + "events/{sequence}", []string{"at", page.Axis}, event},
	}
}

// Loader has what the pages are made of.
type Loader struct {
	JS      jetstream.JetStream
	Moments *moments.Moments
	Readers limit.Slots // for the histories that are read at a time
	// MaxEvents is how many events a page reads at most to tell a history, MaxBytes how many bytes
	// of data they have at most.
	MaxEvents, MaxBytes int
	// FoldTime is how long a page of an event waits to tell what the event changed.
	FoldTime time.Duration
	Logger   *slog.Logger
	Now      func() time.Time
}

// Shown is what a page shows, and what it was made of.
type Shown struct {
	Model    any
	Moment   model.Moment
	LogID    string
	Early    bool // time ran out for a part of it: the same question may be answered with more later
	title    string
	subjects []string // of the events that change what is shown; none: any may
	stream   string   // the query by which the events API tells of them
	read     lastTwo  // of subjects that were read to make it
	still    bool     // what is shown stays as it is
	differs  int      // in how many things the fleet as it happened differs from what the log knew
}

// at notes of which moment the page is.
func (v *Shown) at(m model.Moment, f moments.Fleet) {
	v.Moment, v.LogID, v.differs = m, f.LogID, f.Differs
}

// Load makes what a page shows. It fails with a respond.Error, and as the fold and the log do.
func (l *Loader) Load(ctx context.Context, e Endpoint, q Question) (Shown, error) {
	return e.load(ctx, l, q)
}

// ReadEvent reads an event of the log. It fails with jetstream.ErrMsgNotFound, and with
// eventlog.ErrForeign beside what could be read.
func ReadEvent(ctx context.Context, js jetstream.JetStream, sequence uint64) (e eventlog.Event, err error) {
	m, err := reader.MessageAt(ctx, js, eventlog.LogStream, sequence)
	if err != nil {
		return e, err
	}
	return eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
}
