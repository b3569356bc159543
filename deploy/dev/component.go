package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

func (r *runner) inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func (r *runner) onDown(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.undo = append(r.undo, f)
}

// background runs a component until the fleet goes down, or end is called; its failure ends the
// fleet.
func (r *runner) background(ctx context.Context, name string, run func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			r.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
	end = func() { cancel(); <-ended }
	r.onDown(func() error { end(); return nil })
	return end
}

// await polls a URL until it answers 200.
func (r *runner) await(ctx context.Context, url string, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		if ctx.Err() == nil {
			last = err
		}
		t := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s is not ready: %w", url, last)
		}
	}
}
