package accounts_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/authority"
)

func users() accounts.Users {
	return accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "o"},
		System:   accounts.Login{User: "sys", Password: "s"},
		People: []accounts.Person{
			{Login: accounts.Login{User: "alice", Password: "a"}, Level: callout.Admin},
			{Login: accounts.Login{User: "olga", Password: "g"}, Level: callout.Operator},
			{Login: accounts.Login{User: "victor", Password: "v"}, Level: callout.Viewer},
		},
		Devices: []accounts.Device{{ID: "pi-01", Password: "p1"}, {ID: "pi-02", Password: "p2"}},
		Lab:     accounts.Login{User: "lab", Password: "l"},
		Legacy:  []accounts.Device{{ID: "old-01", Password: "x"}},
		Callout: &accounts.Callout{
			Issuer: "AANVV6TEBQYD6C4UXVD6PZWJBMAYLIDZATGW3NV4BL3UXWKV6G6ZI2FG", XKey: "XAPGK3NXGRMJKZ2I27BGO46A45VXQZVBPPROU6D7KDIVRM5GZKXGLNJU",
			Answers: accounts.Login{User: accounts.CalloutUser, Password: "c"},
			Log:     accounts.Login{User: accounts.CalloutLogUser, Password: "f"},
			System:  accounts.Login{User: accounts.CalloutSystemUser, Password: "y"},
		},
	}
}

func TestTheServerReadsWhatIsRendered(t *testing.T) {
	t.Parallel()
	text, err := accounts.Render(users(), accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := ca.Server("n1")
	if err != nil {
		t.Fatal(err)
	}
	server := accounts.Server{
		Name: "n1", Host: "127.0.0.1", Port: 4222, HTTPPort: 8222, StoreDir: t.TempDir(), SyncAlways: true,
		TLS: &accounts.TLS{CertFile: certFile, KeyFile: keyFile}, WebSocketPort: 4443,
		MaxFile: "5Gi", MaxMemory: "64Mi", LameDuck: "2m",
		Limits: accounts.Limits{MaxConnections: "1000", MaxPayload: "2MB", WriteDeadline: 7 * time.Second, PingInterval: 20 * time.Second, MaxPings: 3},
		Cluster: &accounts.Cluster{
			Name: "c", Host: "127.0.0.1", Port: 6222, Routes: []string{"nats://127.0.0.1:6223"}, NoAdvertise: true,
			TLS: &accounts.TLS{CertFile: certFile, KeyFile: keyFile, CAFile: ca.File()},
		},
	}
	o, err := accounts.Parse(append(server.Render(), text...))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if o.AuthTimeout != 1.8 || o.AuthCallout == nil || o.AuthCallout.Account != accounts.Auth || len(o.AuthCallout.AuthUsers) != len(o.Users) {
		t.Errorf("the server understood another auth callout: %+v, time-out %v", o.AuthCallout, o.AuthTimeout)
	}
	if o.SystemAccount != accounts.System || len(o.Accounts) != 5 || len(o.Users) != 12 || !o.SyncAlways ||
		o.JetStreamLimits.MaxBatchTimeout != accounts.BatchTimeout || len(o.Routes) != 1 {
		t.Errorf("the server understood something else: %d accounts, %d users, sync always %v, batches %v",
			len(o.Accounts), len(o.Users), o.SyncAlways, o.JetStreamLimits.MaxBatchTimeout)
	}
	if o.TLSConfig == nil || len(o.TLSConfig.Certificates) != 1 || o.TLSTimeout != 5 || o.Websocket.Port != 4443 || o.Websocket.Host != "127.0.0.1" || o.Websocket.TLSConfig == nil {
		t.Errorf("the server understood another TLS: %+v, timeout %v", o.TLSConfig, o.TLSTimeout)
	}
	if o.JetStreamMaxStore != 5<<30 || o.JetStreamMaxMemory != 64<<20 || o.LameDuckDuration != 2*time.Minute ||
		o.MaxConn != 1000 || o.MaxPayload != 2<<20 || o.WriteDeadline != 7*time.Second || o.PingInterval != 20*time.Second || o.MaxPingsOut != 3 {
		t.Errorf("the server understood other limits: %+v", o)
	}
	if c := o.Cluster; !c.NoAdvertise || c.TLSConfig == nil || c.TLSConfig.ClientAuth != tls.RequireAndVerifyClientCert || c.TLSTimeout != 5 {
		t.Errorf("the server understood another cluster: %+v", o.Cluster)
	}
	golden(t, text)
}

// A proxy that ends TLS speaks WebSocket in clear to the server; without TLS and without
// such a proxy there is no WebSocket.
func TestWebSocketInClearIsServedOnlyWhereItIsSaid(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		server accounts.Server
		port   int
		noTLS  bool
	}{
		"behind a proxy":      {accounts.Server{Name: "n", Port: 4222, StoreDir: "/data", WebSocketPort: 8080, WebSocketPlain: true}, 8080, true},
		"no TLS and no proxy": {accounts.Server{Name: "n", Port: 4222, StoreDir: "/data", WebSocketPort: 8080}, 0, false},
	} {
		o, err := accounts.Parse(tt.server.Render())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if o.Websocket.Port != tt.port || o.Websocket.NoTLS != tt.noTLS {
			t.Errorf("%s: the server understood %+v", name, o.Websocket)
		}
	}
}

func golden(t *testing.T, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "accounts.conf")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("configuration changed; UPDATE_GOLDEN=1 accepts it (-want +got):\n%s", diff)
	}
}

func TestHashesHideThePasswords(t *testing.T) {
	t.Parallel()
	u := accounts.Users{Operator: accounts.Login{User: "operator", Password: "plain-text"}}
	text, err := accounts.Render(u, accounts.RenderOptions{Hash: true})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "plain-text") || !strings.Contains(string(text), `"$2a$`) {
		t.Errorf("no bcrypt hash:\n%s", text)
	}
	if _, err := accounts.Parse(text); err != nil {
		t.Error(err)
	}
}

func TestUsersThatCannotBeAreRefusedWithASentence(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		users accounts.Users
		want  string
	}{
		"a device id with a dot would be two tokens": {
			accounts.Users{Devices: []accounts.Device{{ID: "pi.01", Password: "p"}}}, `device "pi.01" must be an RFC 1123 label`,
		},
		"a wildcard is no device": {
			accounts.Users{Devices: []accounts.Device{{ID: "*", Password: "p"}}}, `device "*" must be`,
		},
		"an empty password would let anybody in": {
			accounts.Users{Lab: accounts.Login{User: "lab"}}, "lab user lab has no password",
		},
		"a person who begins as a device": {
			accounts.Users{People: []accounts.Person{{Login: accounts.Login{User: "device-pi-01", Password: "p"}}}}, "begins as the users that tokens make",
		},
		"a person of a level that there is not": {
			accounts.Users{People: []accounts.Person{{Login: accounts.Login{User: "p", Password: "p"}, Level: "owner"}}}, "must be viewer, operator or admin",
		},
		"a developer who only views": {
			accounts.Users{People: []accounts.Person{{Login: accounts.Login{User: "p", Password: "p"}, Level: callout.Viewer, Developer: true}}}, "a developer is an admin",
		},
		"an operator who begins as a person": {
			accounts.Users{Operator: accounts.Login{User: "person-17", Password: "p"}}, "begins as the users that tokens make",
		},
		"a callout without an issuer": {
			accounts.Users{Callout: &accounts.Callout{}}, "must be a public account key",
		},
		"a callout whose requests are not sealed": {
			accounts.Users{Callout: &accounts.Callout{Issuer: "AANVV6TEBQYD6C4UXVD6PZWJBMAYLIDZATGW3NV4BL3UXWKV6G6ZI2FG"}}, "would carry tokens in clear",
		},
		"two with one name would be one": {
			accounts.Users{
				Operator: accounts.Login{User: "op", Password: "p"},
				People:   []accounts.Person{{Login: accounts.Login{User: "op", Password: "q"}}},
			}, "user op is there twice",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := accounts.Render(tt.users, accounts.RenderOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestPasswordsAreMadeOnceAndKeptPrivate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats", "passwords.json")
	names := accounts.Names{Operator: "operator", People: []string{"me"}, Devices: []string{"edge-01"}, Developers: true}
	first, err := accounts.LoadUsers(file, names)
	if err != nil {
		t.Fatal(err)
	}
	names.Devices = append(names.Devices, "edge-02")
	second, err := accounts.LoadUsers(file, names)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Devices, second.Devices[:1]); diff != "" || first.Operator != second.Operator {
		t.Errorf("passwords changed (-first +second):\n%s", diff)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.LoadUsers(file, names); err == nil || !strings.Contains(err.Error(), "remove it to make new ones") {
		t.Errorf("a broken file: got %v", err)
	}
}
