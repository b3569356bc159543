// Package probe checks the whole way of a device into a fleet: an identity is made at
// the provider, gets in at the NATS servers by its token, and is deleted.
package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

const (
	// keyLife bounds what a probe leaves behind that is killed before it deletes its user.
	keyLife        = time.Hour
	cleanupTimeout = 30 * time.Second
	connectTimeout = 10 * time.Second
	tryEvery       = time.Second
	// settle is how long a provider may not know what was just made there.
	settle = time.Minute
)

// Options say where the probe goes. All but CAFile are needed.
type Options struct {
	Provider     setup.Saved
	AdminKeyFile string // of an account that manages the devices' users
	CAFile       string // of the provider; empty: a public one
	URL          string // of the NATS servers, from outside
	Roots        *x509.CertPool
	Now          func() time.Time
}

// Device makes a device's identity, has it get in, and deletes it.
//
// Errors: what the provider refuses; who does not answer; a login that the callout
// refuses, whose reason its log has.
func Device(ctx context.Context, o Options) (err error) {
	session, err := zitadel.SignIn(ctx, zitadel.SignInOptions{Issuer: o.Provider.Issuer, CAFile: o.CAFile, KeyFile: o.AdminKeyFile, Now: o.Now})
	if err != nil {
		return err
	}
	client, err := zitadel.New(zitadel.Options{
		Issuer: o.Provider.Issuer, Organization: o.Provider.DeviceOrganization, Tokens: session, CAFile: o.CAFile, Now: o.Now,
	})
	if err != nil {
		return err
	}
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program rather
	id := "install-check-" + hex.EncodeToString(random[:])
	if _, err := client.EnsureDevice(ctx, zitadel.Device{ID: id, Description: "a check of fleetctl install; may be deleted"}); err != nil {
		return err
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if gone := client.Delete(after, id); gone != nil {
			err = errors.Join(err, fmt.Errorf("user %s stays at the provider; delete it there: %w", id, gone))
		}
	}()
	_, key, err := client.MakeKey(ctx, id, o.Now().Add(keyLife))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	token, err := tokenOf(ctx, o, key)
	if err != nil {
		return fmt.Errorf("get a token for user %s: %w", id, err)
	}
	return enter(ctx, o, token)
}

// tokenOf asks for a token by the key, until the provider knows the key.
func tokenOf(ctx context.Context, o Options, key []byte) (token string, err error) {
	dir, err := os.MkdirTemp("", "fleetctl-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "key.json")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return "", err
	}
	k, err := openid.ReadKey(file)
	if err != nil {
		return "", err
	}
	clock := &trust.Clock{System: o.Now}
	servers, err := trust.Beside(clock, o.CAFile)
	if err != nil {
		return "", err
	}
	provider := openid.New(openid.Options{Issuer: o.Provider.Issuer, Clock: clock, Servers: servers})
	err = until(ctx, func() error {
		grant, err := provider.ByKey(ctx, k, openid.Scopes(o.Provider.Project))
		token = grant.Token
		return err
	})
	return token, err
}

// enter connects as the device.
func enter(ctx context.Context, o Options, token string) error {
	return until(ctx, func() error {
		nc, err := nats.Connect(o.URL, nats.Name("fleetctl install"), nats.Token(token), nats.Timeout(connectTimeout), nats.NoReconnect(),
			nats.IgnoreDiscoveredServers(), nats.Secure(&tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}))
		if err != nil {
			return fmt.Errorf("get in at %s: %w", o.URL, err)
		}
		defer nc.Close()
		_, err = nc.RTT()
		return err
	})
}

// until tries until it works; at the end of ctx it gives the last error.
func until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tryEvery):
		}
	}
}
