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
	for name, after := range map[string]time.Duration{
		"at once":             0,
		"as its parts begin":  20 * time.Millisecond,
		"a little later":      200 * time.Millisecond,
		"as it is nearly up":  2 * time.Second,
		"as it is up, or not": 4 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(after, cancel).Stop()
			defer cancel()
			err := Run(ctx, Options{DataDir: dir, Devices: 1, Engine: EngineMemory}, func(ctx context.Context, _ *Fleet) error {
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
