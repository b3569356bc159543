package images

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// serve runs a registry with a CA of its own, which wants a password.
func serve(t *testing.T, options ...registry.Option) (address, caFile string) {
	t.Helper()
	handler := registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of clients that don't trust it
	srv.StartTLS()
	t.Cleanup(srv.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(srv.URL, "https://"), caFile
}

// login is what docker login leaves, for every registry.
type login struct{ user, password string }

func (l login) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{Username: l.user, Password: l.password}), nil
}

var alice = login{"alice", "secret"}

func TestARegistryHasTheImagesAndTheirBills(t *testing.T) {
	t.Parallel()
	for name, referrers := range map[string]bool{"a registry that lists referrers": true, "a registry that does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, ca := serve(t, registry.WithReferrersSupport(referrers))
			checkPush(t, address, Registry{CAFile: ca, Keychain: alice})
		})
	}
}

func checkPush(t *testing.T, address string, r Registry) {
	t.Helper()
	s := twoImages(t)
	var told []string
	r.Pushed = func(ref string) { told = append(told, ref) }
	for range 2 { // the second finds all there
		pushed, err := s.Push(t.Context(), address+"/fleet", r)
		if err != nil {
			t.Fatal(err)
		}
		want := Named{Name: "fleet-test", Tag: address + "/fleet/fleet-test:v1.2.3_4", Digest: address + "/fleet/fleet-test@" + digest(t, s[0])}
		if len(pushed) != 2 || pushed[1] != want {
			t.Fatalf("pushed %+v, want %+v at the end", pushed, want)
		}
	}
	if len(told) != 4 {
		t.Errorf("told of %v", told)
	}
	options, err := r.Remote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(address + "/fleet/fleet-test:v1.2.3_4")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag, options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		referrers, err := remote.Referrers(tag.Context().Digest(d.Digest.String()), options...)
		if err != nil {
			t.Fatal(err)
		}
		list, err := referrers.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Manifests) != 1 || list.Manifests[0].ArtifactType != SBOMType {
			t.Errorf("%s has the referrers %+v", d.Platform, list.Manifests)
		}
	}
}

func TestARegistryThatRefusesIsExplained(t *testing.T) {
	t.Parallel()
	address, ca := serve(t)
	for name, tt := range map[string]struct {
		repository string
		registry   Registry
		says       string
	}{
		"a CA that is not trusted": {address + "/fleet", Registry{Keychain: alice}, "is of a CA that is not trusted here"},
		"a wrong password":         {address + "/fleet", Registry{CAFile: ca, Keychain: login{"alice", "wrong"}}, "log in by docker login or podman login"},
		"a CA that is not there":   {address + "/fleet", Registry{CAFile: ca + "x"}, "CA of the registry: open"},
		"a CA that is none":        {address + "/fleet", Registry{CAFile: "push_test.go"}, "has no certificate in PEM"},
		"a name that is none":      {address + "/Fleet", Registry{CAFile: ca}, "is no place for images"},
		"a name of no registry":    {"localhost", Registry{}, "is no registry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := twoImages(t).Push(t.Context(), tt.repository, tt.registry); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func TestARegistryWithoutTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	checkPush(t, strings.TrimPrefix(srv.URL, "http://"), Registry{Plain: true, Keychain: authn.NewMultiKeychain()})
}
