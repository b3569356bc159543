package provider_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/dev/provider"
)

func load(t *testing.T, dir string) *provider.Provider {
	t.Helper()
	ca, err := authority.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := ca.Server("provider")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p, err := provider.Load(provider.Options{File: filepath.Join(dir, "provider.json"), Listener: listener, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func enrol(t *testing.T, p *provider.Provider, dir string) []byte {
	t.Helper()
	file := filepath.Join(dir, "zitadel-key.json")
	if err := p.Enrol("edge-01", file); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A device keeps its key for as long as the provider knows it, and gets another one
// where the provider, or the device, has lost it.
func TestADeviceIsEnrolledOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := enrol(t, load(t, dir), dir)
	if again := enrol(t, load(t, dir), dir); !bytes.Equal(first, again) {
		t.Error("an enrolled device got another key")
	}
	if err := os.Remove(filepath.Join(dir, "zitadel-key.json")); err != nil {
		t.Fatal(err)
	}
	second := enrol(t, load(t, dir), dir)
	if bytes.Equal(first, second) {
		t.Error("the key that was lost is back")
	}
	if err := os.Remove(filepath.Join(dir, "provider.json")); err != nil {
		t.Fatal(err)
	}
	if third := enrol(t, load(t, dir), dir); bytes.Equal(second, third) {
		t.Error("a device kept a key that no provider knows")
	}
}
