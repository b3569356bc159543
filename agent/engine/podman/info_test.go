package podman_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podman"
)

// A service on a busy machine takes many seconds to ask its helpers for their
// versions. Its own is known without that.
func TestABusyServiceTellsItsVersionAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server string // header of its answer to a ping
		want   string
	}{
		"it names its version in the header": {"Libpod/4.3.1 (linux)", "4.3.1"},
		"it names none there":                {"", "4.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "p.sock")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			service := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Libpod-API-Version", "4.3.1")
				if test.server != "" {
					w.Header().Set("Server", test.server)
				}
				if strings.HasSuffix(r.URL.Path, "/_ping") {
					return
				}
				if test.server != "" {
					<-r.Context().Done() // it is busy
					return
				}
				_, _ = w.Write([]byte(`{"Version":"4.0.0","Components":[{"Name":"Podman Engine","Version":"4.0.0"}]}`))
			})}
			go func() { _ = service.Serve(l) }()
			t.Cleanup(func() { _ = service.Close() })
			e, err := podman.New(podman.Options{Device: "pi-01", Socket: "unix://" + socket, DataDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := contextFor(t, 20*time.Second)
			defer cancel()
			got, err := e.Info(ctx)
			if want := (engine.Info{Name: "podman", Version: test.want, Real: true}); err != nil || got != want {
				t.Errorf("info %+v, %v; want %+v", got, err, want)
			}
		})
	}
}
