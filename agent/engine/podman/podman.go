// Package podman is the engine that runs containers on a Podman service, through
// its bindings. Restarts and health checks are not left to Podman: they are the
// agent's, see the package plan.
package podman

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/system"

	"fleet.nationtech.io/agent/engine"
)

// DefaultSocket is where Podman's service listens on a device.
const DefaultSocket = "unix:///run/podman/podman.sock"

// Options of an engine.
type Options struct {
	// Device is the id of the device whose containers these are. Required.
	Device string
	// Socket is the service's address, such as unix:///run/podman/podman.sock;
	// empty is DefaultSocket.
	Socket string
	// DataDir is where the files of a score's configs are kept. Required; the
	// service must see it under the same path.
	DataDir string
}

// Podman is a Podman service, as one device sees it.
type Podman struct {
	options Options

	mu         sync.Mutex
	service    context.Context //nolint:containedctx // the bindings keep a connection in a context
	seen       map[string]inspected
	incomplete map[string]time.Time // container that is incomplete container to when it was met first
	left       map[string]string    // container to the session of a command that was not waited for
	owned      map[string]bool      // containers that are recorded as the fleet's; nil before they were read
}

var _ engine.Engine = (*Podman)(nil)

// New validates. The service is dialled at first use, and again when it was away.
func New(o Options) (*Podman, error) {
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	switch u, err := url.Parse(o.Socket); {
	case err != nil:
		return nil, fmt.Errorf("podman socket: %w", err)
	case u.Scheme != "unix" && u.Scheme != "tcp":
		return nil, fmt.Errorf("podman socket %q: it begins with unix:// or tcp://", o.Socket)
	case o.Device == "":
		return nil, errors.New("podman engine: a device id is needed")
	case o.DataDir == "":
		return nil, errors.New("podman engine: a data directory is needed")
	}
	return &Podman{options: o, seen: map[string]inspected{}, left: map[string]string{}, incomplete: map[string]time.Time{}}, nil
}

// connected is a call's context that also carries the connection.
type connected struct {
	context.Context
	service context.Context //nolint:containedctx // see Podman.service
}

func (c connected) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.service.Value(key)
}

// connect gives a context for the bindings' calls. One connection serves for the
// life of the engine: it dials again for a service that was away and came back.
func (p *Podman) connect(ctx context.Context) (context.Context, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.service == nil {
		service, err := dial(ctx, p.options.Socket)
		if err != nil {
			return nil, err
		}
		p.service = service
	}
	return connected{Context: ctx, service: p.service}, nil
}

// dial connects to the service and pings it. What it gives outlives ctx.
func dial(ctx context.Context, socket string) (context.Context, error) {
	service, err := bindings.NewConnection(ctx, socket)
	if err != nil {
		return nil, fail(ctx, engine.ReasonEngineAway, fmt.Errorf("podman at %s: %w", socket, err))
	}
	return context.WithoutCancel(service), nil
}

// Info asks the service for its version. The answer to a ping has it, and comes at
// once; to the question for its version the service answers with that of all its
// helpers, whom it calls first: 5 to 20 s on a busy machine.
func (p *Podman) Info(ctx context.Context) (engine.Info, error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return engine.Info{}, err
	}
	version, err := pingedVersion(conn)
	if err != nil {
		return engine.Info{}, fail(ctx, engine.ReasonEngineAway, err)
	}
	if version == "" {
		v, err := system.Version(conn, nil)
		if err != nil {
			return engine.Info{}, fail(ctx, engine.ReasonEngineAway, err)
		}
		version = v.Server.Version
	}
	return engine.Info{Name: "podman", Version: version, Real: true}, nil
}

// pingedVersion gives the version that the service names in the header of its
// answer to a ping, such as "Libpod/4.3.1 (linux)"; empty where it names none.
func pingedVersion(conn context.Context) (string, error) {
	client, err := bindings.GetClient(conn)
	if err != nil {
		return "", err
	}
	answer, err := client.DoRequest(conn, nil, http.MethodGet, "/_ping", nil, nil)
	if err != nil {
		return "", err
	}
	if err := answer.Body.Close(); err != nil {
		return "", err
	}
	version, ok := strings.CutPrefix(answer.Header.Get("Server"), "Libpod/")
	if !ok || answer.StatusCode != http.StatusOK {
		return "", nil
	}
	version, _, _ = strings.Cut(version, " ")
	return version, nil
}
