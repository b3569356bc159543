package present_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/attention/present"
)

// signed is a certificate of a server on the loopback that signs itself.
func signed(t *testing.T, begins, ends time.Time) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: begins, NotAfter: ends, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A server that was given another certificate keeps its connections, which know the one before.
func TestTheCertificateIsTheOneThatTheServerShowsNow(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	old := signed(t, now.Add(-1000*time.Hour), now.Add(100*time.Hour))
	renewed := signed(t, now.Add(-time.Hour), now.Add(10_000*time.Hour))
	file := filepath.Join(t.TempDir(), "ca.pem")
	var trusted []byte
	for _, c := range []*tls.Certificate{old, renewed} {
		trusted = append(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
	}
	if err := os.WriteFile(file, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	var shows atomic.Pointer[tls.Certificate]
	shows.Store(old)
	_, js := natstest.Start(t, func(o *server.Options) {
		o.TLS = true
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shows.Load(), nil }}
		o.TLSTimeout = 60 // s
	}).Connect(t, nats.RootCAs(file))
	natstest.EnsureLog(t, js, 1)
	ends := func(at time.Time) time.Time {
		t.Helper()
		c := present.Certificate(t.Context(), js.Conn(), at)
		if c == nil {
			t.Fatal("it tells of no certificate")
		}
		return c.Ends
	}
	if got, want := ends(now), now.Add(100*time.Hour); !got.Equal(want) {
		t.Errorf("the certificate ends at %s, want %s", got, want)
	}
	shows.Store(renewed)
	if got, want := ends(now), now.Add(10_000*time.Hour); !got.Equal(want) {
		t.Errorf("the server has another certificate, which ends at %s, want %s", got, want)
	}
	shows.Store(signed(t, now, now.Add(time.Hour))) // whom nobody trusts
	if got, want := ends(now), now.Add(100*time.Hour); !got.Equal(want) {
		t.Errorf("no handshake tells, and the certificate of the connection ends at %s, want %s", got, want)
	}
	f, _, err := present.Look(t.Context(), js, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if f.Certificate == nil {
		t.Error("a look tells of no certificate")
	}
}

func TestAServerWithoutTLSHasNoCertificate(t *testing.T) {
	t.Parallel()
	js := log(t)
	if c := present.Certificate(t.Context(), js.Conn(), time.Now()); c != nil {
		t.Errorf("it tells of one that ends at %s", c.Ends)
	}
}
