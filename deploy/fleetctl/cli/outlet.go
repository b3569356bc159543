package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Guard puts an Outlet before the output, which ends the work by stop when the output
// breaks. A screen on a terminal needs the terminal itself: its errors come by broken.
func (s *Streams) Guard(stop context.CancelFunc) *Outlet {
	o := &Outlet{w: s.Out, stop: stop}
	s.watchReaders = o.watchReaders
	if s.Terminal {
		s.broken = o.broke
	} else {
		s.Out = o
	}
	return o
}

// Outlet is where the answer goes. It remembers an error of the output, so that no
// answer is lost without a message, and ends the work then: nobody reads what follows.
//
// The reader may stop at any time (| head). The kernel then ends the program
// by SIGPIPE, without a word, as it ends kubectl and every other tool of a pipe;
// a shell sees 141 if it looks (set -o pipefail). Where the signal does not come,
// because it is ignored or the pipe is not the standard output, Run gives the
// same code by itself. It is not 0: an answer that was cut is not the answer.
type Outlet struct {
	w    io.Writer
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

func (o *Outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.note(err)
	}
	return n, err
}

// broke notes an error of an output that is written to past Write: of a terminal, on
// which a screen is drawn. A terminal that was closed ends the program by SIGHUP; where
// the program ignores that (nohup), this ends it.
func (o *Outlet) broke(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(err)
}

// watchReaders ends the work as soon as nobody reads the answer any more, and not at
// the next write: where a command follows the log, that may never come. Only such
// commands call it, as they have nothing else to do then. The caller calls end.
func (o *Outlet) watchReaders() (end func()) {
	f, ok := o.w.(*os.File)
	if !ok {
		return func() {}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return func() {} // the next thing written tells
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if readerGone(f, r) {
			o.broke(syscall.EPIPE)
		}
	})
	return func() {
		_ = w.Close()
		wg.Wait()
		_ = r.Close()
	}
}

func (o *Outlet) note(err error) {
	if o.err == nil {
		o.err = err
		o.stop()
	}
}

// Outcome is the command's error, or the output's where that broke.
func (o *Outlet) Outcome(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil:
		return err
	case errors.Is(o.err, syscall.EPIPE), errors.Is(o.err, io.ErrClosedPipe):
		return ExitCode(ExitCut)
	}
	return Failed(fmt.Errorf("the answer is not complete: write: %w", o.err), "make room where the output goes")
}
