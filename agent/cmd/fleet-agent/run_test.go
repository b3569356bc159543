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
		"help is no error":                       {[]string{"--help"}, exitOK, "-config"},
		"an unknown flag is wrong usage":         {[]string{"--confg", "x"}, exitUsage, "confg"},
		"an argument too many is wrong usage":    {[]string{"start"}, exitUsage, `unexpected argument "start"`},
		"a configuration that is not there":      {[]string{"--config", filepath.Join(dir, "none.toml")}, exitUsage, "none.toml"},
		"an unknown key is named with its line":  {[]string{"--config", file("key.toml", "device_id = \"pi-01\"\n"+"[nats]\nurll = \"x\"\n")}, exitUsage, "line 3: unknown key \"nats.urll\""},
		"plaintext is not taken by accident":     {[]string{"--config", file("plain.toml", strings.Replace(right, "allow_plaintext = true\n", "", 1))}, exitUsage, "allow_plaintext"},
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
