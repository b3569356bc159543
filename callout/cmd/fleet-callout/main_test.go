package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
)

func TestExit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	seed := func(name string, create func() (nkeys.KeyPair, error)) string {
		pair, err := create()
		if err != nil {
			t.Fatal(err)
		}
		s, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return write(name, s)
	}
	account, curve, user := seed("issuer", nkeys.CreateAccount), seed("xkey", nkeys.CreateCurveKeys), seed("user", nkeys.CreateUser)
	with := func(more ...string) []string {
		return append([]string{
			"--issuer", "https://auth.example.com", "--project", "3012", "--device-organization", "3000", "--organizations", "4000",
			"--issuer-seed-file", account, "--xkey-seed-file", curve, "--auth-password", "a", "--log-password", "b", "--sys-password", "c",
		}, more...)
	}
	misspelt := write("misspelt.toml", []byte("isuer = \"https://a\"\n"))
	number := write("number.toml", []byte("organizations = [1, 2]\n"))
	broken := write("broken.toml", []byte("issuer = \n"))
	good := write("good.toml", []byte("organizations = [\"4000\", \"5000\"]\nlog-grace = \"soon\"\n"))
	for name, tt := range map[string]struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		"help is no failure":                    {args: []string{"--help"}, code: 0, says: "$FLEET_NATS_URL"},
		"version is no failure":                 {args: []string{"--version"}, code: 0, says: ", go1."},
		"an unknown flag":                       {args: []string{"--isuer"}, code: 2, says: "not defined"},
		"an argument":                           {args: []string{"start"}, code: 2, says: `unexpected argument "start"`},
		"nothing at all":                        {code: 2, says: "--issuer is missing"},
		"a bad value in the environment":        {env: map[string]string{"FLEET_LOG_GRACE": "soon"}, code: 2, says: "$FLEET_LOG_GRACE"},
		"a file that is not there":              {args: with("--config", "/nowhere"), code: 2, says: "/nowhere"},
		"a file with a misspelt setting":        {args: with("--config", misspelt), code: 2, says: `no setting "isuer"`},
		"a file with a list of numbers":         {args: with("--config", number)[2:], code: 2, says: "--issuer is missing"},
		"a file that is no TOML":                {args: with("--config", broken), code: 2, says: "is not TOML"},
		"a file with a bad value":               {args: with("--config", good), code: 2, says: "log-grace"},
		"passwords in clear to another machine": {args: with("--nats-url", "nats://nats.example.com:4222"), code: 2, says: "without TLS"},
		"a URL without a scheme":                {args: with("--nats-url", "nats.example.com"), code: 2, says: "is no URL"},
		"an issuer with a slash at its end":     {args: with("--issuer", "https://auth.example.com/"), code: 2, says: "ends with a slash"},
		"a seed that is not there":              {args: with("--issuer-seed-file", "/nowhere"), code: 2, says: "--issuer-seed-file"},
		"a user's seed as issuer":               {args: with("--issuer-seed-file", user), code: 2, says: "account key (SA…)"},
		"an account's seed as xkey":             {args: with("--xkey-seed-file", account), code: 2, says: "curve key (SX…)"},
		"no xkey":                               {args: with("--xkey-seed-file", ""), code: 2, says: "no xkey"},
		"three seeds":                           {args: with("--issuer-seed-file", account+","+account+","+account), code: 2, says: "at most 2"},
		"no password":                           {args: with("--sys-password", ""), code: 2, says: "no password in account SYS"},
		"no project":                            {args: with("--project", ""), code: 2, says: "no project"},
		"no organization of devices":            {args: with("--device-organization", ""), code: 2, says: "no organization of the devices"},
		"devices that may grant roles":          {args: with("--organizations", "3000"), code: 2, says: "an account that manages devices would manage people"},
		"a symmetric algorithm":                 {args: with("--algorithms", "HS256"), code: 2, says: "cannot be allowed"},
		"a device id from nowhere":              {args: with("--device-id", "email"), code: 2, says: "--device-id"},
		"a role of a robot":                     {args: with("--roles", "x=robot:viewer"), code: 2, says: "must be person or service"},
		"a role of a god":                       {args: with("--roles", "x=person:god"), code: 2, says: "must be viewer, operator or admin"},
		"a role twice":                          {args: with("--roles", "x=person:viewer,x=person:admin"), code: 2, says: "twice"},
		"a viewer of one namespace":             {args: with("--roles", "x=person:viewer:shop"), code: 2, says: "limit an operator alone"},
		"a namespace with a wildcard":           {args: with("--roles", "x=person:operator:*"), code: 2, says: "RFC 1123 label"},
		"a role of devices and persons":         {args: with("--roles", "device=person:viewer"), code: 2, says: "cannot be that of devices"},
		"a key file that is none":               {args: with("--introspection-key-file", account), code: 2, says: "--introspection-key-file"},
		"a CA that is none":                     {args: with("--issuer-ca-file", account), code: 2, says: "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr strings.Builder
			code := run(tt.args, func(name string) string { return tt.env[name] }, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("exit %d, want %d with %q; it said:\n%s", code, tt.code, tt.says, stderr.String())
			}
		})
	}
}

func TestFlagsAreStrongerThanTheEnvironmentAndThatThanTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "callout.toml")
	if err := os.WriteFile(file, []byte("issuer = \"https://file\"\nproject = \"file\"\nlisten = \"file\"\nallow-plain-requests = true\norganizations = [\"1\", \"2\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"FLEET_CONFIG": file, "FLEET_ISSUER": "https://env", "FLEET_PROJECT": "env"}
	s, err := parse([]string{"--issuer", "https://flag"}, func(n string) string { return env[n] }, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if s.issuer != "https://flag" || s.project != "env" || s.listen != "file" || !s.allowPlain || s.organizations != "1,2" {
		t.Errorf("settings %+v", s)
	}
}
