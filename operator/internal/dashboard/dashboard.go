// Package dashboard serves the web dashboard and the JSON API of what it shows. Each page is
// also a page of the past: it is made of the event log up to a moment, and of nothing else.
// What a person asks for there goes into the log in the person's own name.
package dashboard

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/internal/dashboard/action"
	"fleet.nationtech.io/operator/internal/dashboard/endpoint"
	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/openapi"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/internal/dashboard/signin"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

const (
	atOnce      = 8                // pages that are made at a time
	ownAtOnce   = 3                // of them for one person
	patience    = 5 * time.Second  // for which another one waits
	requestTime = 10 * time.Second // that one may take to be made
	writeTime   = 30 * time.Second // that a client may take to read it
)

const (
	readers   = 4               // histories that are read at a time
	maxEvents = 100_000         // that a page reads to tell one
	maxBytes  = 16 << 20        // of their data
	foldTime  = 3 * time.Second // for which a page of an event waits to tell what it changed
)

// Options wire a Dashboard.
type Options struct {
	JS      jetstream.JetStream
	Moments *moments.Moments // that the caller runs
	Events  http.Handler     // the events API, at eventsapi.Path
	// AnyHost answers whatever name the server is called by. Otherwise only a name of this
	// machine's loopback will do: a page of another origin, whose name an attacker lets
	// resolve to loopback, must not read the fleet.
	AnyHost bool
	// SignIn has each request come from a person, whom NATS lets in; the caller runs it. nil: the
	// dashboard asks nobody who they are.
	SignIn *signin.SignIn
	// MaxEvents is how many events a page reads at most to tell a history; 0: 100,000.
	MaxEvents int
	// MaxBytes is how many bytes of data they have at most; 0: 16 MiB.
	MaxBytes int
	// FoldTime is how long a page of an event waits to tell what the event changed; 0: 3 s.
	FoldTime time.Duration
	// Build tells this program's pages from another's; empty: what the running binary says of
	// itself.
	Build    string
	Registry prometheus.Registerer
	Logger   *slog.Logger
	Now      func() time.Time
}

// Dashboard answers requests.
type Dashboard struct {
	o       Options
	respond *respond.Responder
	loader  *endpoint.Loader
	actions *action.Handlers
	metrics *metrics
	answers *answers
	slots   limit.Slots // for the pages that are made at a time
	own     *limit.Own  // as many of them as are made for one person at a time
	readers limit.Slots // for the histories that are read at a time
	shares  *limit.Shares
}

// New wires a dashboard and registers its metrics.
func New(o Options) (*Dashboard, error) {
	responder, err := respond.New(o.Logger)
	if err != nil {
		return nil, err
	}
	o.MaxEvents, o.MaxBytes = cmp.Or(o.MaxEvents, maxEvents), cmp.Or(o.MaxBytes, maxBytes)
	o.FoldTime = cmp.Or(o.FoldTime, foldTime)
	o.Build = cmp.Or(o.Build, version.Read().Text())
	histories := limit.NewSlots(readers)
	return &Dashboard{
		o: o, respond: responder, metrics: newMetrics(o.Registry), answers: newAnswers(),
		slots: limit.NewSlots(atOnce), own: limit.NewOwn(ownAtOnce), readers: histories, shares: limit.NewShares(),
		loader: &endpoint.Loader{
			JS: o.JS, Moments: o.Moments, Readers: histories, MaxEvents: o.MaxEvents, MaxBytes: o.MaxBytes, FoldTime: o.FoldTime, Logger: o.Logger, Now: o.Now,
		},
		actions: action.New(action.Options{
			JS: o.JS, Moments: o.Moments, Respond: responder, Readers: histories, MaxEvents: o.MaxEvents, Registry: o.Registry, Logger: o.Logger, Now: o.Now,
		}),
	}, nil
}

// Handler is the way of a request:
//
//	security headers ─┬▶ health
//	                  └▶ the server's name ─▶ no form of another site ─┬▶ assets
//	                                                                  ├▶ sign-in
//	                                                                  └▶ a person, whom NATS lets in ─┬▶ events API
//	                                                                                                  ├▶ pages and their JSON
//	                                                                                                  └▶ actions
//
// Without a sign-in no person is asked for. What is behind it is the same for all who may read.
func (d *Dashboard) Handler() http.Handler {
	mux, open := http.NewServeMux(), http.NewServeMux()
	shared := func(pattern string, h http.Handler) { mux.Handle(pattern, d.shared(h)) }
	shared("GET "+eventsapi.Path, d.o.Events)
	shared("GET "+respond.APIPath+"openapi.json", http.HandlerFunc(d.openAPI))
	for _, e := range endpoint.All() {
		shared("GET "+e.Path, d.serve(e, false))
		if e.API != "" {
			shared("GET "+e.API, d.serve(e, true))
		}
	}
	for _, a := range d.actions.Routes() {
		if a.Page == page.Request {
			shared(a.Pattern, d.act(a))
		} else {
			mux.Handle(a.Pattern, d.act(a))
		}
	}
	mux.Handle("/", d.elsewhere(mux, open))
	open.HandleFunc("GET /assets/{file}", d.file)
	if d.o.SignIn == nil {
		open.Handle("/", mux)
	} else {
		open.Handle("/", d.o.SignIn.Require(mux, d.respond.Notice))
		open.Handle(signin.Prefix, d.o.SignIn.Handler(d.respond.Notice))
	}
	return secured(healthy(d.named(d.sameOrigin(open))))
}

// elsewhere answers where the muxes have nothing for a request: with the methods that they have
// something for, where there are any, and else with the page that has no slash behind it.
func (d *Dashboard) elsewhere(muxes ...*http.ServeMux) http.Handler {
	has := func(method string, at *url.URL) bool {
		return slices.ContainsFunc(muxes, func(m *http.ServeMux) bool {
			_, pattern := m.Handler(&http.Request{Method: method, URL: at})
			return strings.Contains(pattern, " ")
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var takes []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			if has(method, r.URL) {
				takes = append(takes, method)
			}
		}
		bare := &url.URL{Path: strings.TrimSuffix(r.URL.Path, "/"), RawPath: strings.TrimSuffix(r.URL.RawPath, "/"), RawQuery: r.URL.RawQuery}
		if len(takes) == 0 && bare.Path != r.URL.Path && r.Method == http.MethodGet && has(r.Method, bare) {
			http.Redirect(w, r, bare.String(), http.StatusTemporaryRedirect)
			return
		}
		d.respond.NotFound(w, r, takes...)
	})
}

// act answers a person who acts, and measures. No browser keeps the answer.
func (d *Dashboard) act(a action.Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w.Header().Set("Cache-Control", "no-store")
		code, err := a.Serve(w, r)
		if err != nil {
			code = d.respond.Error(w, r, err)
		}
		d.metrics.answered(a.Page, code, time.Since(began))
	})
}

// shared refuses a person who has too much open. An action is never refused here, and neither is
// the page with its form: an operator must be able to stop a rollout, whatever else is open.
func (d *Dashboard) shared(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := person.Of(r.Context())
		if p == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if !d.shares.Take(p.Actor) {
			d.respond.Error(w, r, respond.Errorf(http.StatusTooManyRequests, "You have %d pages or streams of events open already. Close one and ask again.", limit.MaxShare))
			return
		}
		defer d.shares.GiveBack(p.Actor)
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what another site's page has a browser do here.
func (d *Dashboard) sameOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.respond.Error(w, r, respond.Error{Code: http.StatusForbidden, Text: "A page of another site asked for this. The dashboard does what its own pages ask for."})
	}))
	return p.Handler(next)
}

// openAPI answers with what describes the JSON API.
func (d *Dashboard) openAPI(w http.ResponseWriter, _ *http.Request) {
	api := openapi.API{Asks: openapi.Asks{Prefix: respond.APIPath, Subjects: action.SubjectPaths(), Key: action.IdempotencyKey, Body: action.Ask{}}}
	for _, e := range endpoint.All() {
		if e.API != "" {
			api.Pages = append(api.Pages, openapi.Page{Name: e.Page, Path: e.API, Parameters: e.Parameters})
		}
	}
	w.Header().Set("Content-Type", respond.JSONType)
	_ = json.NewEncoder(w).Encode(openapi.Document(api)) // the client has gone away
}

// file gives an asset. A browser keeps that of this program, whose address changes with its
// content; a page of another program, as while replicas are replaced, asks for its own, and
// must not be left with this one.
func (d *Dashboard) file(w http.ResponseWriter, r *http.Request) {
	name := "assets/" + r.PathValue("file")
	if info, err := fs.Stat(page.Assets, name); err != nil || info.IsDir() {
		d.respond.NotFound(w, r)
		return
	}
	if r.URL.RawQuery == d.respond.Asset {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, page.Assets, name)
}
