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
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
)

const calloutImage = "localhost/fleet-callout:test"

// startProvider starts a provider at an address of this machine, and gives its issuer, the
// file of its certificate authority, and the key file of its administrator.
func startProvider(t *testing.T, at netip.Addr) (issuer, caFile, adminKey string) {
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
	p := devprovidertest.Start(t, devprovider.Options{Listen: net.JoinHostPort(at.String(), "0"), Certificate: &certificate, Lag: 2 * time.Second})
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
	return p.Issuer(), caFile, adminKey
}

// A production fleet is installed with its identity provider, and the installer lets
// an identity in and out again. What an administrator does by the documents is all that
// this test does.
func TestAProductionFleetIsInstalledWithItsProvider(t *testing.T) {
	node := clustertest.Shared(t)
	for image, program := range map[string]string{operatorImage: "fleet-operator", calloutImage: "fleet-callout", natsImage: "nats-server"} {
		node.Import(t, clustertest.Program{Image: image, File: built.Program(t, program), Path: "/" + program, User: "65532"})
	}
	issuer, caFile, adminKey := startProvider(t, node.Gateway)
	keys := filepath.Join(t.TempDir(), "fleet-keys")
	setUp := runProgram(t, "zitadel", "setup", "--issuer", issuer, "--ca-file", caFile, "--admin-key-file", adminKey, "--out", keys)
	setUp.wants(t, 0, "install --provider")

	t.Cleanup(func() { takeOut(t, node) })
	small := []string{"--set", "nats.spread=ScheduleAnyway", "--set", "nats.storage.size=1Gi", "--set", "nats.goMemLimit=200MiB"}
	for _, part := range []string{"nats", "operator", "callout"} {
		small = append(small, "--set", part+".resources.requests.cpu=20m", "--set", part+".resources.requests.memory=64Mi", "--set", part+".resources.limits.memory=512Mi")
	}
	args := append([]string{
		"install", "--profile", "production", "--provider", keys,
		"--set", "images.operator=" + operatorImage, "--set", "images.callout=" + calloutImage, "--set", "images.nats=" + natsImage,
		"--set", "devices.expose=nodePort", "--set", "devices.host=" + node.Address.String(),
	}, small...)
	runFleetctl(t, node, args...).wants(t, 0, "3 of 3 pods are ready", "3 replicas", "A device's identity was made at the provider, got in at wss://", "is installed", "enroll ssh://")
	runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
	if info := log(t, node); info.Replicas != 3 {
		t.Errorf("the log has %d replicas, want 3", info.Replicas)
	}
}
