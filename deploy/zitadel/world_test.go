package zitadel_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/zitadel"
)

const (
	people  = "1000"
	devices = "3000"
	others  = "5000"
)

// generations are the servers that are asked.
var generations = map[string]devprovider.Generation{
	"a server with v2": devprovider.Everything, "an early v4 server": devprovider.EarlyV2, "a server with v1 alone": devprovider.OnlyV1,
}

// world is a provider with an account that manages users of the devices' organization.
type world struct {
	*devprovider.Provider
	t *testing.T
}

func start(t *testing.T, o devprovider.Options) *world {
	t.Helper()
	w := &world{devprovidertest.Start(t, o), t}
	for _, id := range []string{people, devices, others} {
		w.AddOrganization(devprovider.Organization{ID: id, Name: "organization " + id})
	}
	for id, organization := range map[string]string{"root": people, "enroller": devices, "nobody": devices} {
		w.machine(id, organization)
	}
	w.AddAdministrator("root", "", "IAM_OWNER")
	w.AddAdministrator("enroller", devices, zitadel.UserManager)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) machine(id, organization string) {
	w.t.Helper()
	_, err := w.AddUser(devprovider.User{ID: id, Organization: organization, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
}

func (w *world) keyFile(id string) string {
	w.t.Helper()
	text, err := w.AddKey(id, time.Now().Add(time.Hour))
	w.must(err)
	path := filepath.Join(w.t.TempDir(), "key.json")
	w.must(os.WriteFile(path, text, 0o600))
	return path
}

// signIn signs an account in by its key, as soon as the provider shows both.
func (w *world) signIn(id string) *zitadel.Session {
	w.t.Helper()
	path := w.keyFile(id)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s, err := zitadel.SignIn(w.t.Context(), zitadel.SignInOptions{Issuer: w.Issuer(), KeyFile: path})
		if err == nil {
			return s
		}
		if time.Now().After(end) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) client(id string, change ...func(*zitadel.Options)) *zitadel.Client {
	w.t.Helper()
	return w.clientBy(w.signIn(id), change...)
}

func (w *world) clientBy(tokens zitadel.Tokens, change ...func(*zitadel.Options)) *zitadel.Client {
	w.t.Helper()
	o := zitadel.Options{Issuer: w.Issuer(), Organization: devices, Tokens: tokens, Settle: time.Second}
	for _, f := range change {
		f(&o)
	}
	c, err := zitadel.New(o)
	w.must(err)
	return c
}

// quick waits for nothing, and notes for how long it would have waited.
func quick(waits *[]time.Duration) func(*zitadel.Options) {
	return func(o *zitadel.Options) {
		o.Jitter = func() float64 { return 1 }
		o.Sleep = func(_ context.Context, d time.Duration) error {
			*waits = append(*waits, d)
			return nil
		}
	}
}

var public = sync.OnceValue(func() []byte {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
})
