package cli

import (
	"context"
	"errors"
	"syscall"
	"testing"
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

func TestAnOutputThatBreaksEndsTheWork(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := &Outlet{w: &brokenAfter{err: syscall.EPIPE}, stop: cancel}
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
	o := &Outlet{stop: cancel}
	s := Streams{Out: &brokenAfter{err: syscall.EIO}, Terminal: true, broken: o.broke}
	s.Tell("hello\n")
	var f *Failure
	if err := o.Outcome(nil); ctx.Err() == nil || !errors.As(err, &f) || f.code != ExitFailed {
		t.Errorf("outcome %v, context %v; want a failure, and the end", err, ctx.Err())
	}
}
