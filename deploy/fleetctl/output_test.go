package fleetctl_test

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// brokenAfter takes a number of bytes and then fails.
type brokenAfter struct {
	left int
	err  error
}

func (w *brokenAfter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

func TestAnOutputThatBreaks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		code int
		says string
	}{
		"closed by its reader": {fmt.Errorf("write: %w", syscall.EPIPE), cli.ExitCut, ""},
		"full":                 {syscall.ENOSPC, cli.ExitFailed, "the answer is not complete"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			code := fleetctl.Run(t.Context(), cli.Streams{
				Out: &brokenAfter{left: 20, err: tt.err}, Err: &stderr, Name: "fleetctl",
				Getenv: func(string) string { return "" }, Now: time.Now,
			}, []string{"--help"})
			if code != tt.code || !strings.Contains(stderr.String(), tt.says) || tt.says == "" && stderr.Len() > 0 {
				t.Errorf("code %d, %q on stderr; want %d and %q", code, &stderr, tt.code, tt.says)
			}
		})
	}
}
