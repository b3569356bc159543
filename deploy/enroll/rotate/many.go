package rotate

import (
	"context"
	"errors"
	"sync"
)

// ErrNotBegun says that a device's turn did not come: the run was broken off before.
var ErrNotBegun = errors.New("its turn did not come, as the run was broken off: run it again")

// Many gives devices new keys, a number of them at once, and calls done after each; done
// is called by one goroutine at a time. One that fails holds up no other. The results
// are in the order of the devices.
func (r *Rotator) Many(ctx context.Context, devices []string, parallel int, done func(Result)) []Result {
	results := make([]Result, len(devices))
	var mu sync.Mutex
	var group sync.WaitGroup
	next := 0
	for range max(1, min(parallel, len(devices))) {
		group.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(devices) {
					return
				}
				one := Result{Device: devices[i], Outcome: Failed, Err: ErrNotBegun}
				if ctx.Err() == nil {
					one = r.Rotate(ctx, devices[i])
				}
				mu.Lock()
				results[i] = one
				done(one)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return results
}
