package config_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/config"
)

const small = `
device_id = "pi-01"
[nats]
url = "wss://nats.example.org:443"
`

// The configuration of DESIGN.md, whole.
const whole = `
device_id = "pi-01"
data_dir = "/data/agent"
[labels]
site = "lab"
"example.org/rack" = "7"
[nats]
url = "nats://127.0.0.1:4222"
ca_file = "/etc/ca.pem"
allow_plaintext = true
[auth]
mode = "shared"
user = "pi-01"
password = "secret"
key_file = "/etc/fleet-agent/zitadel-key.json"
issuer = "https://id.example.org"
project_id = "1"
[podman]
engine = "memory"
socket = "unix:///run/user/1000/podman/podman.sock"
[commands]
allow_exec = true
[report]
pulse_interval = "5s"
[metrics]
listen = "127.0.0.1:9101"
`

func TestParse(t *testing.T) {
	t.Parallel()
	want := config.Config{
		DeviceID: "pi-01", DataDir: "/data/agent",
		Labels: map[string]string{"site": "lab", "example.org/rack": "7"},
		NATS:   config.NATS{URL: "nats://127.0.0.1:4222", CAFile: "/etc/ca.pem", AllowPlaintext: true},
		Auth: config.Auth{
			Mode: config.ModeShared, User: "pi-01", Password: "secret",
			KeyFile: config.DefaultKeyFile, Issuer: "https://id.example.org", ProjectID: "1",
		},
		Podman:   config.Podman{Engine: config.EngineMemory, Socket: "unix:///run/user/1000/podman/podman.sock"},
		Commands: config.Commands{AllowExec: true},
		Report:   config.Report{PulseInterval: config.Duration(5 * time.Second)},
		Metrics:  config.Metrics{Listen: "127.0.0.1:9101"},
	}
	got, err := config.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
	encoded, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse(encoded)
	if err != nil {
		t.Fatalf("%v in\n%s", err, encoded)
	}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Error("encoded and read back (-want +got)\n" + diff)
	}
}

func TestParseReadsAnIdentity(t *testing.T) {
	t.Parallel()
	got, err := config.Parse([]byte(small + `
[auth]
mode = "zitadel-jwt"
issuer = "https://auth.example.org"
project_id = "3012"
ca_file = "/etc/provider.pem"
scopes = ["urn:zitadel:iam:user:metadata"]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Auth{
		Mode: config.ModeZitadelJWT, KeyFile: config.DefaultKeyFile, Issuer: "https://auth.example.org", ProjectID: "3012",
		CAFile: "/etc/provider.pem", Scopes: []string{"urn:zitadel:iam:user:metadata"},
	}
	if diff := cmp.Diff(want, got.Auth); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	got, err := config.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.DeviceID, want.NATS.URL = "pi-01", "wss://nats.example.org:443"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []string
	}{
		"an unknown key, by its name, its line and the keys there are": {
			small + "ca_fiel = \"x\"\n", []string{"line 5", `unknown key "nats.ca_fiel"`, "correct or remove it", "ca_file"},
		},
		"an unknown table": {
			small + "[pod]\nx = 1\n", []string{"line 5", `unknown key "pod`, "podman"},
		},
		"all unknown keys at once": {
			"a = 1\nb = 2\n" + small, []string{`unknown key "a"`, `unknown key "b"`},
		},
		"a value of the wrong kind": {
			small + "allow_plaintext = \"yes\"\n", []string{"line 5", "allow_plaintext"},
		},
		"a duration without a unit": {
			small + "[report]\npulse_interval = \"30\"\n", []string{"line 6", "pulse_interval", `write it as "30s"`},
		},
		"a pulse that would flood": {
			small + "[report]\npulse_interval = \"1ms\"\n", []string{"at least 100ms"},
		},
		"what is not TOML": {
			"device_id = pi\n", []string{"line 1", "not TOML"},
		},
		"no device id": {
			"[nats]\nurl = \"tls://x:1\"\n", []string{"device_id is missing"},
		},
		"a device id with a dot": {
			"device_id = \"pi.01\"\n[nats]\nurl = \"tls://x:1\"\n", []string{`device_id "pi.01"`, "RFC 1123"},
		},
		"no server": {
			"device_id = \"pi-01\"\n", []string{"nats.url is missing"},
		},
		"a plaintext server without leave": {
			"device_id = \"pi-01\"\n[nats]\nurl = \"nats://x:4222\"\n", []string{"not encrypted", "allow_plaintext = true"},
		},
		"a server of another scheme": {
			"device_id = \"pi-01\"\n[nats]\nurl = \"http://x\"\n", []string{"scheme must be wss, tls"},
		},
		"a user in the URL, without showing the password": {
			"device_id = \"pi-01\"\n[nats]\nurl = \"tls://u:hunter2@x:1\"\n", []string{"write user and password under [auth]"},
		},
		"WebSocket and other servers in one list": {
			"device_id = \"pi-01\"\n[nats]\nurl = \"wss://a:443, tls://b:4222\"\n",
			[]string{"mixes WebSocket (wss://a:443) with other servers (tls://b:4222)", "one kind only"},
		},
		"an identity without a provider and a project, both at once": {
			small + "[auth]\nmode = \"zitadel-jwt\"\n", []string{"auth.issuer is missing", "auth.project_id is missing"},
		},
		"an identity beside a password": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nuser = \"x\"\npassword = \"hunter2\"\n", []string{"belong to mode = \"shared\""},
		},
		"an issuer with a trailing slash": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nproject_id = \"1\"\nissuer = \"https://auth.example.org/\"\n",
			[]string{"auth.issuer", "without a trailing slash"},
		},
		"an issuer with a path": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nproject_id = \"1\"\nissuer = \"https://auth.example.org/oauth/v2/token\"\n",
			[]string{"auth.issuer", "scheme, host and port alone"},
		},
		"a plaintext issuer without leave": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nproject_id = \"1\"\nissuer = \"http://auth.example.org\"\n",
			[]string{"auth.issuer", "not encrypted", "allow_plaintext = true"},
		},
		"an issuer that is no URL": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nproject_id = \"1\"\nissuer = \"auth.example.org\"\n",
			[]string{"auth.issuer", "is not a URL"},
		},
		"two scopes in one text": {
			small + "[auth]\nmode = \"zitadel-jwt\"\nproject_id = \"1\"\nissuer = \"https://auth.example.org\"\nscopes = [\"a b\"]\n",
			[]string{"auth.scopes", "a text of its own"},
		},
		"a mode that does not exist": {
			small + "[auth]\nmode = \"magic\"\n", []string{`auth.mode "magic"`},
		},
		"a password without a user": {
			small + "[auth]\npassword = \"hunter2\"\n", []string{"without auth.user"},
		},
		"an engine that does not exist": {
			small + "[podman]\nengine = \"docker\"\n", []string{`podman.engine "docker"`},
		},
		"a metrics address without a port": {
			small + "[metrics]\nlisten = \"localhost\"\n", []string{"metrics.listen", "host:port"},
		},
		"a relative data directory": {
			"data_dir = \"x\"\n" + small, []string{"data_dir", "absolute"},
		},
		"a label that only a person may set": {
			small + "[labels]\n\"restricted.fleet.nationtech.io/zone\" = \"a\"\n", []string{"never taken from a device", "kubectl label"},
		},
		"a label that Kubernetes refuses": {
			small + "[labels]\n\"a b\" = \"x\"\nc = \"not good\"\n", []string{`label "a b"`, `label "c"`},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse([]byte(tc.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q shows the password", err)
			}
		})
	}
}

// Editors write a byte order mark, and other encodings than UTF-8.
func TestParseReadsWhatEditorsWrite(t *testing.T) {
	t.Parallel()
	utf16 := func(order binary.AppendByteOrder, mark bool) string {
		var b []byte
		if mark {
			b = order.AppendUint16(b, 0xFEFF)
		}
		for _, r := range small[1:] {
			b = order.AppendUint16(b, uint16(r))
		}
		return string(b)
	}
	for name, tc := range map[string]struct {
		text, refusal string
	}{
		"a byte order mark":                {"\xEF\xBB\xBF" + small, ""},
		"a byte order mark, and CRLF":      {"\xEF\xBB\xBF" + strings.ReplaceAll(small, "\n", "\r\n"), ""},
		"UTF-16, little endian":            {utf16(binary.LittleEndian, true), "the file is UTF-16"},
		"UTF-16, big endian":               {utf16(binary.BigEndian, true), "the file is UTF-16"},
		"UTF-16 without a mark":            {utf16(binary.LittleEndian, false), "the file is UTF-16 without a byte order mark"},
		"UTF-16, big endian, without one":  {utf16(binary.BigEndian, false), "the file is UTF-16 without a byte order mark"},
		"UTF-32":                           {"\xFF\xFE\x00\x00d\x00\x00\x00", "the file is UTF-32"},
		"Latin-1":                          {small + "# caf\xE9\n", "line 5 is not UTF-8"},
		"a mark in the middle of the file": {small + "\xEF\xBB\xBFx = 1\n", "line 5, column 1: this is not TOML"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse([]byte(tc.text))
			switch {
			case tc.refusal == "" && err != nil:
				t.Error(err)
			case tc.refusal == "" && c.DeviceID != "pi-01":
				t.Errorf("device id %q", c.DeviceID)
			case tc.refusal != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.refusal)):
				t.Errorf("error %v, want that it begins with %q", err, tc.refusal)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(small))
	f.Add([]byte("\xEF\xBB\xBF" + small))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text)
		if err == nil && c.Check() != nil {
			t.Error("accepted, but the check refuses it")
		}
	})
}
