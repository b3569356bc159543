package dev

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// However early a fleet is told to end, that is no failure, and nothing is left
// behind that says it were there.
func TestAFleetThatIsInterruptedWhileItComesUpDoesNotFail(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after time.Duration
		auth  string
	}{
		"at once":                                {0, AuthPassword},
		"as its parts begin":                     {20 * time.Millisecond, AuthPassword},
		"a little later":                         {200 * time.Millisecond, AuthPassword},
		"as it is nearly up":                     {2 * time.Second, AuthPassword},
		"as it is up, or not":                    {4 * time.Second, AuthPassword},
		"as its identity provider comes up":      {30 * time.Millisecond, AuthOIDC},
		"as the callout waits for the event log": {time.Second, AuthOIDC},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(tc.after, cancel).Stop()
			defer cancel()
			err := Run(ctx, Options{DataDir: dir, Devices: 1, Engine: EngineMemory, Auth: tc.auth}, func(ctx context.Context, _ *Fleet) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
				t.Errorf("it says %v", err)
			}
			for _, file := range []string{"env", "kubeconfig"} {
				if _, err := os.Stat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// The directory of a socket that a killed fleet left goes with the next start.
func TestTheSocketOfAKilledFleetIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dataDir := t.TempDir()
	first, err := socketDir(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := socketDir(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first: %v", err)
	}
	if _, err := os.Stat(second); err != nil {
		t.Errorf("the second: %v", err)
	}
}
