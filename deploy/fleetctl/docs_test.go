package fleetctl_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

var updateDocs = flag.Bool("update-docs", false, "write docs/cli.md again")

// The reference is what the commands say, wherever and by whomever it is made.
func TestTheReferenceIsWhatTheCommandsSay(t *testing.T) {
	t.Parallel()
	made := func(env map[string]string) string {
		var out, errs bytes.Buffer
		if code := fleetctl.Run(t.Context(), cli.Streams{
			Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return env[k] },
		}, []string{"docs"}); code != cli.ExitOK {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		return out.String()
	}
	got := made(nil)
	if other := made(map[string]string{"FLEET_NATS_URL": "nats://here:1", "FLEET_NATS_USER": "me", "FLEET_NATS_PASSWORD": "secret"}); other != got {
		t.Errorf("it depends on the environment:\n%s", cmp.Diff(got, other))
	}
	file := filepath.Join("..", "..", "docs", "cli.md")
	if *updateDocs {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/cli.md is stale; make generate (-is +should be):\n%s", diff)
	}
	for _, word := range []string{"--from", "FLEET_NATS_URL", "## fleetctl replay", "Exit codes: 0, 1, 2"} {
		if !strings.Contains(got, word) {
			t.Errorf("it does not say %q", word)
		}
	}
}
