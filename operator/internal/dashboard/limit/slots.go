// Package limit bounds how much the dashboard does at a time: for all, and for one person.
package limit

import (
	"context"
	"errors"
	"time"
)

// ErrFull says that all slots stayed taken.
var ErrFull = errors.New("all slots are taken")

// Slots are places for something that is done by a few at a time.
type Slots chan struct{}

// NewSlots gives so many slots, all of them free.
func NewSlots(n int) Slots { return make(Slots, n) }

// Take waits until a slot is free. It fails with the error of ctx.
func (s Slots) Take(ctx context.Context) (release func(), err error) {
	select {
	case s <- struct{}{}:
		return s.release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TakeWithin waits until a slot is free, but no longer than that. It fails with ErrFull, and with
// the error of ctx.
func (s Slots) TakeWithin(ctx context.Context, patience time.Duration) (release func(), err error) {
	if patience <= 0 {
		release, ok := s.TryTake()
		if !ok {
			return nil, ErrFull
		}
		return release, nil
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case s <- struct{}{}:
		return s.release, nil
	case <-t.C:
		return nil, ErrFull
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TryTake takes a slot where one is free.
func (s Slots) TryTake() (release func(), ok bool) {
	select {
	case s <- struct{}{}:
		return s.release, true
	default:
		return nil, false
	}
}

func (s Slots) release() { <-s }
