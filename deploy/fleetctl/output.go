package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// outlet is where the answer goes. It remembers that it broke, so that no answer
// is lost in silence, and ends the work then: nobody reads what follows.
//
// Whoever reads may stop at any time (| head). The kernel then ends the program
// by SIGPIPE, without a word, as it ends kubectl and every other tool of a pipe;
// a shell sees 141 if it looks (set -o pipefail). Where the signal does not come,
// because it is ignored or the pipe is not the standard output, Run gives the
// same code by itself. It is not 0: an answer that was cut is not the answer.
type outlet struct {
	w    io.Writer
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

func (o *outlet) Write(p []byte) (int, error) {
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

// broke is told of an error by who writes past Write: to a terminal, whose picture
// wants it bare. A terminal that was closed ends the program by SIGHUP; where that
// is ignored (nohup), by this.
func (o *outlet) broke(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(err)
}

// heed ends the work as soon as nobody reads the answer any more, and not at the
// next thing that is written: where something is followed, that may never come.
// It is for that alone, as there is nothing else to be done then. Whoever calls it
// ends it.
func (o *outlet) heed() (end func()) {
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

func (o *outlet) note(err error) {
	if o.err == nil {
		o.err = err
		o.stop()
	}
}

// outcome is what the command's error becomes in the light of what was written.
func (o *outlet) outcome(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil:
		return err
	case errors.Is(o.err, syscall.EPIPE), errors.Is(o.err, io.ErrClosedPipe):
		return silence(ExitCut)
	}
	return failed(fmt.Errorf("the answer is not whole: write: %w", o.err), "room where the output goes")
}

// silence is an exit code that needs no words: the answer has said all.
type silence int

func (s silence) Error() string { return fmt.Sprintf("exit code %d", int(s)) }
