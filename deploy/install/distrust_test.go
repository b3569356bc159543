package install

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/eventlog/natstest"
)

// A real server shows each wrong certificate, by both ways that devices take. What the
// check says of it names what is wrong and what to do.
func TestAWrongCertificateIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	here := func(s *authority.Server) { s.IPs = []net.IP{net.IPv4(127, 0, 0, 1).To4()} }
	for name, tt := range map[string]struct {
		certificate func(*authority.Server)
		foreign     bool
		outside     string // the remedy, by the devices' way
		inside      string // and within the cluster
	}{
		"of another authority": {here, true, "an authority that this machine does not know", "ConfigMap ns/fleet-ca must have the authority"},
		"that ended": {
			func(s *authority.Server) { here(s); s.Until = time.Now().Add(-time.Minute) }, false,
			"has ended, or is not valid yet by this machine's clock. Renew it", "The certificate in Secret ns/mine has ended",
		},
		"for another name": {func(s *authority.Server) { s.DNS = []string{"other.example.com"} }, false, "Set devices.host to the name that devices use", "must be for fleet-nats.ns.svc, too"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			urls, roots := showing(t, tt.certificate, tt.foreign)
			for _, url := range urls {
				_, err := connect(url, accounts.Login{User: "u", Password: "p"}, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
				if err == nil {
					t.Fatalf("%s: the certificate is trusted", url)
				}
				out, in := unreachable(url, "mine", err), unreadable("ns", "mine", err)
				if want := "the certificate at " + url + " is not trusted"; out.What != want || !strings.Contains(out.Remedy, tt.outside) {
					t.Errorf("by the devices' way: %v. %s", out, out.Remedy)
				}
				if in.What != "the NATS servers' certificate is not trusted" || !strings.Contains(in.Remedy, tt.inside) {
					t.Errorf("within the cluster: %v. %s", in, in.Remedy)
				}
			}
		})
	}
}

func TestARightCertificateIsTrustedByBothWays(t *testing.T) {
	t.Parallel()
	urls, roots := showing(t, func(s *authority.Server) { s.IPs = []net.IP{net.IPv4(127, 0, 0, 1).To4()} }, false)
	for _, url := range urls {
		nc, err := connect(url, accounts.Login{User: "u", Password: "p"}, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		nc.Close()
	}
}

func TestAServerThatDoesNotAnswerIsNoQuestionOfTrust(t *testing.T) {
	t.Parallel()
	refused := errors.New("connection refused")
	if out := unreachable("wss://devices.example.com", "mine", refused); !strings.Contains(out.What, "cannot be reached") || !strings.Contains(out.Remedy, "firewall") {
		t.Errorf("%v. %s", out, out.Remedy)
	}
	if in := unreadable("ns", "mine", refused); !strings.Contains(in.What, "the event log cannot be read") || !strings.Contains(in.Remedy, "logs deployment/fleet-operator") {
		t.Errorf("%v. %s", in, in.Remedy)
	}
}

// showing starts a server with a certificate, and gives its URLs with the authority that a
// client trusts: another one than the certificate's, where that is foreign.
func showing(t *testing.T, change func(*authority.Server), foreign bool) (urls []string, roots *x509.CertPool) {
	t.Helper()
	ca, err := authority.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := authority.Server{Name: "test", Until: time.Now().Add(time.Hour)}
	change(&server)
	pair, err := ca.Server(server, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{names.KeyCert: pair.Certificate, names.KeyKey: pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if foreign {
		if ca, err = authority.New("other", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	webSocket := natstest.FreePort(t)
	s := natstest.Start(t, natstest.Config(t, fmt.Sprintf(`
tls: { cert_file: "%[1]s/tls.crt", key_file: "%[1]s/tls.key" }
websocket: { host: 127.0.0.1, port: %[2]d, tls: { cert_file: "%[1]s/tls.crt", key_file: "%[1]s/tls.key" } }
authorization: { user: u, password: p }
`, dir, webSocket)))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Pair().Certificate)
	return []string{strings.Replace(s.URL(), "nats://", "tls://", 1), fmt.Sprintf("wss://127.0.0.1:%d", webSocket)}, roots
}
