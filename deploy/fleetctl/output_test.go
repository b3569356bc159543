package fleetctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
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
		"closed by its reader": {fmt.Errorf("write: %w", syscall.EPIPE), ExitCut, ""},
		"full":                 {syscall.ENOSPC, ExitFailed, "the answer is not whole"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			code := Run(t.Context(), Streams{
				Out: &brokenAfter{left: 20, err: tt.err}, Err: &stderr, Name: "fleetctl",
				Getenv: func(string) string { return "" }, Now: time.Now,
			}, []string{"--help"})
			if code != tt.code || !strings.Contains(stderr.String(), tt.says) || tt.says == "" && stderr.Len() > 0 {
				t.Errorf("code %d, %q on stderr; want %d and %q", code, &stderr, tt.code, tt.says)
			}
		})
	}
}

func TestAnOutputThatBreaksEndsTheWork(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := &outlet{w: &brokenAfter{err: syscall.EPIPE}, stop: cancel}
	if _, err := o.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || ctx.Err() == nil {
		t.Errorf("write: %v, context: %v; want a broken pipe, and the end", err, ctx.Err())
	}
	if _, err := o.Write(nil); err == nil {
		t.Error("it forgot that it broke")
	}
}

func TestATerminalThatIsClosedEndsTheWork(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := &outlet{stop: cancel}
	s := Streams{Out: &brokenAfter{err: syscall.EIO}, Terminal: true, broken: o.broke}
	s.tell("hello\n")
	var f *failure
	if err := o.outcome(nil); ctx.Err() == nil || !errors.As(err, &f) || f.code != ExitFailed {
		t.Errorf("outcome %v, context %v; want a failure, and the end", err, ctx.Err())
	}
}
