// Package dashboard serves the web dashboard and the JSON API of what it shows. Each page is
// also a page of the past: it is made of the event log up to a moment, and of nothing else.
// It only reads.
package dashboard

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

const (
	atOnce      = 8                // pages that are made at a time
	patience    = 5 * time.Second  // for which another one waits
	requestTime = 10 * time.Second // that one may take to be made
	writeTime   = 30 * time.Second // that a client may take to read it
)

// Options wire a Dashboard.
type Options struct {
	JS      jetstream.JetStream
	Moments *moments.Moments // that somebody runs
	Events  http.Handler     // the events API, at eventsapi.Path
	// AnyHost answers whatever name the server is called by. Otherwise only a name of this
	// machine's loopback will do: a page of another origin, whose name an attacker lets
	// resolve to loopback, must not read the fleet.
	AnyHost bool
	// MaxEvents is how many events a page reads at most to tell a history; 0: 100,000.
	MaxEvents int
	// MaxBytes is how many bytes of data they have at most; 0: 16 MiB.
	MaxBytes int
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
	pages   *page.Pages
	asset   string // distinguishes this program's assets
	metrics *metrics
	slots   chan struct{}
	readers chan struct{}
	made    *answers
}

// New wires a dashboard and registers its metrics.
func New(o Options) (*Dashboard, error) {
	pages, err := page.New()
	if err != nil {
		return nil, err
	}
	o.MaxEvents, o.MaxBytes = cmp.Or(o.MaxEvents, maxEvents), cmp.Or(o.MaxBytes, maxBytes)
	o.Build = cmp.Or(o.Build, version.Read().Text())
	asset, err := digest(page.Assets)
	if err != nil {
		return nil, err
	}
	return &Dashboard{o: o, pages: pages, asset: asset, metrics: newMetrics(o.Registry), slots: make(chan struct{}, atOnce), readers: make(chan struct{}, readers), made: newAnswers()}, nil
}

// digest is a short name of what files say.
func digest(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		h.Write(b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("dashboard: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Handler is the way of a request:
//
//	security headers ─▶ the server's name ─▶ assets
//	                                      ├▶ events API
//	                                      └▶ pages and their JSON
//
// Whoever signs persons in stands between the server's name and the pages: what is behind
// reads, and is the same for all who may read.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{file}", d.file)
	mux.Handle("GET "+eventsapi.Path, d.o.Events)
	mux.HandleFunc("GET "+apiPath+"openapi.json", d.openAPI)
	for _, s := range sights() {
		mux.Handle("GET "+s.path, d.serve(s, false))
		mux.Handle("GET "+s.api, d.serve(s, true))
	}
	mux.HandleFunc("/", d.nothing)
	return secured(d.named(mux))
}

// file gives an asset. A browser keeps that of this program, whose address changes with its
// content; a page of another program, as while replicas are replaced, asks for its own, and
// must not be left with this one.
func (d *Dashboard) file(w http.ResponseWriter, r *http.Request) {
	name := "assets/" + r.PathValue("file")
	if info, err := fs.Stat(page.Assets, name); err != nil || info.IsDir() {
		d.nothing(w, r)
		return
	}
	if r.URL.RawQuery == d.asset {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, page.Assets, name)
}
