// Package action is how persons act over HTTP: by the form on an action's page, or by the JSON API.
// What a person asks for goes into the log in the person's own name. Its page says what became of it.
package action

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator/internal/dashboard/endpoint"
	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/resource"
)

const (
	requestTime = 10 * time.Second // that a request may take, beside the wait for the operator's answer
	choices     = 4                // looks at the fleet for persons who act, beside the pages
	patience    = 5 * time.Second  // for which another one waits
)

// Options wire Handlers.
type Options struct {
	JS      jetstream.JetStream
	Moments *moments.Moments
	Respond *respond.Responder
	Readers limit.Slots // for the histories that are read at a time
	// MaxEvents is how many events are read at most to tell what became of a request.
	MaxEvents int
	Registry  prometheus.Registerer
	Logger    *slog.Logger
	Now       func() time.Time
}

// Handlers answer persons who act.
type Handlers struct {
	o       Options
	metrics *metrics
	choices limit.Slots // so that an action never waits behind those who only look
	waiters limit.Slots
	rates   *limit.Rates
}

// New wires handlers and registers their metrics.
func New(o Options) *Handlers {
	return &Handlers{o: o, metrics: newMetrics(o.Registry), choices: limit.NewSlots(choices), waiters: limit.NewSlots(waiters), rates: limit.NewRates()}
}

// Route is where a handler is.
type Route struct {
	Pattern string
	Page    string // as package page calls it
	Serve   func(http.ResponseWriter, *http.Request) (code int, err error)
}

// Routes are the pages of actions, and what becomes of them. An action has a page of its own,
// which does not change while a person looks at it: so a form asks for what its author saw.
// It is made for one person and kept by nobody.
func (h *Handlers) Routes() []Route {
	all := []Route{
		{"POST " + respond.APIPath + "devices/{device}/ping", page.Ping, h.pingJSON},
		{"GET /requests/{sequence}", page.Request, h.requestPage},
		{"GET " + respond.APIPath + "requests/{sequence}", page.Request, h.requestJSON},
	}
	for kind, path := range SubjectPaths() {
		all = append(all,
			Route{"GET /" + path + "/{action}", page.Action, h.form(kind)},
			Route{"POST /" + path + "/{action}", page.Action, h.act(kind)},
			Route{"POST " + respond.APIPath + path + "/requests", page.Request, h.ask(kind)})
	}
	return all
}

// SubjectPaths are the patterns of what actions are about, by kind.
func SubjectPaths() map[string]string {
	return map[string]string{
		model.OfRollout: "rollouts/{namespace}/{name}", model.OfDeployment: "deployments/{namespace}/{name}", model.OfDevice: "devices/{device}",
	}
}

// subject reads what a request is about.
func subject(r *http.Request, kind string) (model.Subject, error) {
	if kind == model.OfDevice {
		id, err := endpoint.PathDevice(r)
		return model.Subject{Kind: kind, Device: id}, err
	}
	key, err := endpoint.PathKey(r)
	return model.Subject{Kind: kind, Key: key}, err
}

// choice is an action that a person chose, as things stand now.
type choice struct {
	model.Actions
	Action resource.Action
}

// choose gives an action by its name, as things stand now.
func (h *Handlers) choose(ctx context.Context, about model.Subject, name string) (c choice, err error) {
	release, err := h.choices.TakeWithin(ctx, patience)
	if errors.Is(err, limit.ErrFull) {
		return c, respond.Errorf(http.StatusServiceUnavailable, "%d actions are being looked at already. Ask again.", choices)
	}
	if err != nil {
		return c, err
	}
	defer release()
	err = h.o.Moments.At(ctx, moments.Moment{}, func(f moments.Fleet) { c.Actions = model.ActionsOf(f.Catalog, about) })
	if err != nil {
		return c, err
	}
	if len(c.Actions.Actions) == 0 {
		return c, respond.Errorf(http.StatusNotFound, "The fleet has no %s %s now about which one could ask for something.", about.What(), about)
	}
	var ok bool
	if c.Action, ok = c.Actions.Action(name); !ok {
		return c, respond.Errorf(http.StatusNotFound, "Nobody can ask for %q here.", name)
	}
	return c, nil
}

// page writes a page that is made for one request.
func (h *Handlers) page(w http.ResponseWriter, r *http.Request, code int, p page.Page) (int, error) {
	p.Path = r.URL.EscapedPath()
	return h.o.Respond.Page(w, r, code, p), nil
}
