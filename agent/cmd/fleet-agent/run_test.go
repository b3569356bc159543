package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodesAndSentences(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const right = "device_id = \"pi-01\"\n[nats]\nurl = \"nats://127.0.0.1:1\"\nallow_plaintext = true\n[auth]\nuser = \"a\"\npassword = \"b\"\n"
	unwritable := file("taken", "")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"the version is printed":                 {[]string{"--version"}, exitOK, ""},
		"help is no error":                       {[]string{"--help"}, exitOK, ""},
		"an unknown flag is wrong usage":         {[]string{"--confg", "x"}, exitUsage, "confg"},
		"an argument too many is wrong usage":    {[]string{"start"}, exitUsage, `"start" for "fleet-agent"`},
		"a configuration that is not there":      {[]string{"--config", filepath.Join(dir, "none.toml")}, exitConfig, "none.toml"},
		"an unknown key is named with its line":  {[]string{"--config", file("key.toml", "device_id = \"pi-01\"\n"+"[nats]\nurll = \"x\"\n")}, exitConfig, "line 3: unknown key \"nats.urll\""},
		"plaintext is not taken by accident":     {[]string{"--config", file("plain.toml", strings.Replace(right, "allow_plaintext = true\n", "", 1))}, exitConfig, "allow_plaintext"},
		"a data directory that cannot be there":  {[]string{"--config", file("dir.toml", "data_dir = \""+unwritable+"/x\"\n"+right+"[podman]\nengine = \"memory\"\n")}, exitError, "the agent ends"},
		"a metrics address that cannot be taken": {[]string{"--config", file("metrics.toml", "data_dir = \""+dir+"/d\"\n"+right+"[podman]\nengine = \"memory\"\n[metrics]\nlisten = \"127.0.0.1:65536\"\n")}, exitError, "listen for metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			if code := run(test.args, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d; it said %q", code, test.code, stderr.String())
			}
			if !strings.Contains(stderr.String(), test.says) {
				t.Errorf("it said %q, not %q", stderr.String(), test.says)
			}
		})
	}
}

// fleetAgent runs a command line and gives its exit code and what it wrote.
func fleetAgent(args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

func TestAKeyIsMadeAdoptedAndShown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "zitadel-key.json")
	code, out, said := fleetAgent("key", "show", "--key-file", file)
	if code != exitNone || out != "{\"key_id\":\"\",\"user_id\":\"\",\"pending\":false}\n" || !strings.Contains(said, "this device is not enrolled with a key") {
		t.Errorf("without a key: exit code %d, %q, %q", code, out, said)
	}
	code, public, said := fleetAgent("key", "create", "--key-file", file)
	if code != exitOK || !strings.HasPrefix(public, "-----BEGIN PUBLIC KEY-----\n") || said != "" {
		t.Errorf("create: exit code %d, %q, %q", code, public, said)
	}
	adopt := []string{"key", "adopt", "--key-file", file, "--key-id", "7", "--user-id", "pi-01", "--expires", "2028-11-28T00:00:00Z"}
	for range 2 {
		if code, out, said := fleetAgent(adopt...); code != exitOK || out != "" || said != "" {
			t.Errorf("adopt: exit code %d, %q, %q", code, out, said)
		}
	}
	code, out, said = fleetAgent("key", "show", "--key-file", file)
	if code != exitOK || out != "{\"key_id\":\"7\",\"user_id\":\"pi-01\",\"expires\":\"2028-11-28T00:00:00Z\",\"pending\":false}\n" || said != "" {
		t.Errorf("show: exit code %d, %q, %q", code, out, said)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no pair waits":         {append(adopt, "--key-id", "8"), exitError, "make one with fleet-agent key create"},
		"a time that is none":   {append(adopt, "--expires", "soon"), exitUsage, `--expires "soon" is no time`},
		"a flag is missing":     {[]string{"key", "adopt"}, exitUsage, `"expires", "key-id", "user-id" not set`},
		"the directory is gone": {[]string{"key", "create", "--key-file", file + "/x/key.json"}, exitError, "is not there: make it with mkdir"},
		"no command of key":     {[]string{"key", "remove"}, exitUsage, "adopt, create, show"},
	} {
		if code, _, said := fleetAgent(tc.args...); code != tc.code || !strings.Contains(said, tc.says) {
			t.Errorf("%s: exit code %d, %q", name, code, said)
		}
	}
}

func TestTheConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "zitadel-key.json")
	const head = "device_id = \"pi-01\"\n[nats]\nurl = \"tls://127.0.0.1:1\"\n"
	auth := "[auth]\nmode = \"zitadel-jwt\"\nissuer = \"https://auth.example.org\"\nproject_id = \"1\"\nkey_file = \"" + key + "\"\n"
	adopted := func(user, expires string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			for _, args := range [][]string{{"create"}, {"adopt", "--key-id", user + expires, "--user-id", user, "--expires", expires}} {
				if code, _, said := fleetAgent(append(append([]string{"key"}, args...), "--key-file", key)...); code != exitOK {
					t.Fatal(said)
				}
			}
		}
	}
	nothing := func(*testing.T) {}
	for _, tc := range []struct { // one after the other: they share the key file
		name   string
		before func(*testing.T)
		text   string // empty: there is no file
		code   int
		out    []string // lines, each without the file's name
		notes  string
	}{
		{"a device without a key yet", nothing, head + auth, exitOK, []string{" is right"}, "is not there yet"},
		{"a key that holds", adopted("pi-01", "2120-01-01T00:00:00Z"), head + auth, exitOK, []string{" is right"}, ""},
		{"a key that ended", adopted("pi-01", "2020-01-01T00:00:00Z"), head + auth, exitOK, []string{" is right"}, "ended at 2020-01-01T00:00:00Z"},
		{"the key of another", adopted("pi-02", "2120-01-01T00:00:00Z"), head + auth, exitOK, []string{" is right"}, `of user "pi-02", and device_id is "pi-01"`},
		{"two faults are two lines", nothing, "device_id = \"Pi\"\n[nats]\nurl = \"nats://a:1\"\n", exitConfig, []string{": device_id", ": nats.url"}, "is wrong: correct it"},
		{"a CA file that is not there", nothing, head + "ca_file = \"" + dir + "/none.pem\"\n", exitConfig, []string{": nats: read ca_file"}, ""},
		{"a key file that is none", func(*testing.T) { _ = os.WriteFile(key, []byte("x"), 0o600) }, head + auth, exitConfig, []string{": auth.key_file: key file"}, ""},
		{"no file", nothing, "", exitConfig, []string{": the file is not there"}, ""},
	} {
		tc.before(t)
		path := filepath.Join(dir, "config.toml")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if tc.text == "" {
			path = filepath.Join(dir, "none.toml")
		}
		code, out, said := fleetAgent("config", "check", "--config", path)
		if code != tc.code || !strings.Contains(said, tc.notes) {
			t.Errorf("%s: exit code %d, %q", tc.name, code, said)
		}
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if len(lines) != len(tc.out) {
			t.Errorf("%s: it wrote %q", tc.name, lines)
			continue
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, path+tc.out[i]) {
				t.Errorf("%s: line %q, want %q", tc.name, line, path+tc.out[i])
			}
		}
	}
}

func TestAShellIsToldHowToComplete(t *testing.T) {
	t.Parallel()
	if code, out, said := fleetAgent("__complete", "key", ""); code != exitOK || !strings.Contains(out, "create\t") || !strings.Contains(out, "adopt\t") {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	if code, out, said := fleetAgent("completion", "bash"); code != exitOK || !strings.Contains(out, "fleet-agent") {
		t.Errorf("exit code %d, %q", code, said)
	}
}
