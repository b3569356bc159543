package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"fleet.nationtech.io/deploy/dev/authority"
)

func load(t *testing.T, dir string) *authority.Authority {
	t.Helper()
	a, err := authority.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serverOf makes a server's certificate and reads it back.
func serverOf(t *testing.T, a *authority.Authority) *x509.Certificate {
	t.Helper()
	certFile, keyFile, err := a.Server("nats")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// Who trusts the authority once trusts each certificate that it signs later.
func TestAnAuthorityIsMadeOnceAndItsKeysArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	first := load(t, dir)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(first.PEM()) {
		t.Fatal("the CA file has no certificate")
	}
	before, after := serverOf(t, first), serverOf(t, load(t, dir))
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		for _, c := range []*x509.Certificate{before, after} {
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if before.SerialNumber.Cmp(after.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAuthorityThatWasCutShortIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load(t, dir)
	if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	serverOf(t, load(t, dir))
}

func TestAnAuthorityThatCannotBeReadIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "ca-key.pem"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Load(dir); err == nil {
		t.Error("a torn key is replaced in silence")
	}
}
