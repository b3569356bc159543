package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/authority"
)

func TestAnAuthorityThatIsReadAgainSignsForTheSameRoots(t *testing.T) {
	t.Parallel()
	now := time.Now()
	made, err := authority.New("test CA", now)
	if err != nil {
		t.Fatal(err)
	}
	read, err := authority.Parse(made.Pair())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made.Pair().Certificate)
	p, err := read.Server(authority.Server{
		Name: "nats", DNS: []string{"nats.fleet-system.svc", "*.nats-headless.fleet-system.svc"}, IPs: []net.IP{net.IPv4(10, 0, 0, 1)},
		Until: now.AddDate(1, 0, 0), Client: true,
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nats.fleet-system.svc", "nats-0.nats-headless.fleet-system.svc", "10.0.0.1"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "nats.other.svc"}); err == nil {
		t.Error("the certificate holds for a name that it was not made for")
	}
}

func TestAServersCertificateIsNoAuthority(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, err := authority.New("test CA", now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Server(authority.Server{Name: "nats", DNS: []string{"nats"}, Until: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Parse(p); err == nil || !strings.Contains(err.Error(), "may not sign") {
		t.Errorf("got %v", err)
	}
}
