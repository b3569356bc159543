//go:build e2ecluster

package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
)

// startProvider starts a provider at an address of this machine, and gives the file of its
// certificate authority and the key file of its administrator, too.
func startProvider(t *testing.T, at netip.Addr) (p *devprovider.Provider, caFile, adminKey string) {
	t.Helper()
	now := time.Now()
	ca, err := authority.New("the provider's CA", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server(authority.Server{Name: "provider", IPs: []net.IP{at.AsSlice()}, Until: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	p = devprovidertest.Start(t, devprovider.Options{Listen: net.JoinHostPort(at.String(), "0"), Certificate: &certificate, Lag: 2 * time.Second})
	p.AddOrganization(devprovider.Organization{ID: "4000", Name: "People"})
	if _, err := p.AddUser(devprovider.User{ID: "owner", Organization: "4000", Machine: true, TokenType: devprovider.JWT}); err != nil {
		t.Fatal(err)
	}
	p.AddAdministrator("owner", "", "IAM_OWNER")
	key, err := p.AddKey("owner", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var written devprovider.KeyFile
	if err := json.Unmarshal(key, &written); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the provider shows the administrator's key", func(context.Context) error {
		if !p.HasKey(written.KeyID, "owner") {
			return errors.New("it does not yet")
		}
		return nil
	})
	dir := t.TempDir()
	caFile, adminKey = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "owner.json")
	if err := errors.Join(os.WriteFile(caFile, ca.Pair().Certificate, 0o600), os.WriteFile(adminKey, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return p, caFile, adminKey
}
