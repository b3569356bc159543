package dev

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/accounts"
)

// The main job is done by devices that come in by tokens, over TLS, with the attacks
// of the story; and the data directory is a fleet again, in this way and in the other.
func TestAFleetOfIdentitiesDoesTheMainJobAndIsRecovered(t *testing.T) {
	t.Parallel()
	o := Options{DataDir: t.TempDir(), Devices: 2, Engine: EngineMemory, Auth: AuthOIDC}
	var said bytes.Buffer
	err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error { return Tell(ctx, f, &said) })
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	for _, evidence := range []string{
		"auth.granted  edge-01 is device-edge-01 in account DEVICES", "auth.granted  edge-02 is device-edge-02 in account DEVICES",
		"with the key of edge-01: its own pulse is taken", "access.revoked  edge-02, by dev", "edge-02 was cut off within",
		"auth.denied  edge-02: AccessRevoked", "access.allowed  edge-02, by dev", "edge-02 answers again",
	} {
		if !strings.Contains(said.String(), evidence) {
			t.Errorf("the story does not say %q:\n%s", evidence, &said)
		}
	}
	before := secrets(t, o.DataDir)
	var issuer, url string
	for range 2 {
		err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error {
			if issuer == "" {
				issuer, url = f.configs["edge-01"].Auth.Issuer, f.Env.NATSURL
			}
			if f.configs["edge-01"].Auth.Issuer != issuer || f.Env.NATSURL != url {
				t.Errorf("the fleet is elsewhere: %s and %s, then %s and %s", issuer, url, f.configs["edge-01"].Auth.Issuer, f.Env.NATSURL)
			}
			return answered(ctx, f)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, secrets(t, o.DataDir)); diff != "" {
		t.Errorf("secrets changed (-before +after)\n%s", diff)
	}
	o.Auth = AuthPassword
	if err := Run(t.Context(), o, answered); err != nil {
		t.Errorf("with passwords: %v", err)
	}
}

// answered waits until each device of a fleet answers.
func answered(ctx context.Context, f *Fleet) error {
	nc, err := f.Env.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	s := &story{js: js}
	for _, d := range f.Devices {
		err := until(ctx, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
			err := s.ping(ctx, d.ID)
			return err == nil, fmt.Sprintf("%s: %v", d.ID, err), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// secrets are what must be there again after a restart, each of mode 0600.
func secrets(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, file := range []string{
		"tls/ca.pem", "tls/ca-key.pem", "passwords.json", accounts.IssuerSeedFile, accounts.XKeySeedFile,
		"devices/edge-01/zitadel-key.json", "devices/edge-02/zitadel-key.json", "provider.json",
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
		if file != "provider.json" { // it counts tokens
			got[file] = string(text)
		}
	}
	return got
}

func TestOptionsOfIdentitiesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"another way to prove who one is": {func(o *Options) { o.Auth = "ldap" }, `auth "ldap": must be password or oidc`},
		"tokens that end at once":         {func(o *Options) { o.TokenLifetime = 1 }, "must be at least 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{DataDir: t.TempDir()}
			tc.change(&o)
			if err := o.complete(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %q", err, tc.says)
			}
		})
	}
}
