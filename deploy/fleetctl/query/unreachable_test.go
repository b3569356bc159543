package query_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog/natstest"
)

// Servers that are up and are asked in a wrong way are not called down.
func TestAConnectionThatDoesNotComeAboutSaysWhatHelpsAgainstItsCause(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a, err := authority.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca := write("ca.pem", a.Pair().Certificate)
	secure := func(name string, s authority.Server, at time.Time) *natstest.Server {
		t.Helper()
		pair, err := a.Server(s, at)
		if err != nil {
			t.Fatal(err)
		}
		return natstest.Start(t, natstest.Config(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", write(name+".pem", pair.Certificate), write(name+".key", pair.Key))))
	}
	local := []net.IP{net.IPv4(127, 0, 0, 1)}
	plain := natstest.Start(t).URL()
	other := secure("other", authority.Server{Name: "nats", DNS: []string{"nats.example.org"}, Until: time.Now().Add(time.Hour)}, time.Now())
	sound := secure("sound", authority.Server{Name: "nats", IPs: local, Until: time.Now().Add(time.Hour)}, time.Now())
	ended := secure("ended", authority.Server{Name: "nats", IPs: local, Until: time.Now().Add(-time.Hour)}, time.Now().Add(-2*time.Hour))
	for name, tc := range map[string]struct {
		url, ca, try string
	}{
		"nobody listens":                       {fmt.Sprintf("nats://127.0.0.1:%d", natstest.FreePort(t)), "", "is the server up?"},
		"the CA is not known":                  {sound.URL(), "", "--ca-file (or $FLEET_NATS_CA)"},
		"the certificate is of another name":   {other.URL(), ca, "nats.example.org"},
		"the certificate has ended":            {ended.URL(), ca, "renew the servers' certificate"},
		"there is no such file of CAs":         {plain, filepath.Join(dir, "none"), "a PEM file of CAs"},
		"the file of CAs has none":             {plain, write("empty.pem", nil), "a PEM file of CAs"},
		"TLS is asked of a server without it":  {"tls" + strings.TrimPrefix(plain, "nats"), "", "has no TLS"},
		"a WebSocket is asked of another port": {"ws" + strings.TrimPrefix(plain, "nats"), "", "the port at which the servers take WebSockets"},
		"a WebSocket with TLS of a plain port": {"wss" + strings.TrimPrefix(plain, "nats"), "", "has no TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := query.Connection{Target: query.Target{URL: tc.url, CAFile: tc.ca}}
			nc, _, err := c.Open()
			var f *cli.Failure
			switch {
			case err == nil:
				nc.Close()
				t.Fatal("it connects")
			case !errors.As(err, &f) || !strings.Contains(f.Remedy(), tc.try):
				t.Errorf("%v; and what to try is not %q", err, tc.try)
			case strings.Contains(err.Error(), "server_id"):
				t.Errorf("the error shows the server's greeting: %v", err)
			}
		})
	}
}
