package zitadel_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/zitadel"
)

// An inventory is enrolled by one client from many goroutines, on a server that lacks
// methods, and whose tokens end meanwhile.
func TestManyDevicesAreMadeByOneClientAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.SetGeneration(devprovider.OnlyV1)
	c := w.client("enroller")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			id := fmt.Sprintf("pi-%02d", i)
			created, err := c.EnsureDevice(t.Context(), zitadel.Device{ID: id})
			if err != nil || !created {
				t.Errorf("%s: created %t, %v", id, created, err)
			}
			if _, err := c.AddKey(t.Context(), id, public(), time.Now().Add(time.Hour)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if i == 10 {
				w.ForgetTokens()
			}
		})
	}
	all.Wait()
	for i := range 20 {
		if keys, err := c.Keys(t.Context(), fmt.Sprintf("pi-%02d", i)); err != nil || len(keys) != 1 {
			t.Errorf("pi-%02d: keys %v, %v", i, keys, err)
		}
	}
}
