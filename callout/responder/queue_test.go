package responder

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// clockwork is a queue whose clock the test moves.
type clockwork struct {
	*queue
	at     time.Time
	forgot map[string]int
}

func newClockwork(size int) *clockwork {
	c := &clockwork{at: time.Unix(1_800_000_000, 0), forgot: map[string]int{}}
	c.queue = newQueue(size, time.Second, func() time.Time { return c.at }, func(why string) { c.forgot[why]++ })
	return c
}

func (c *clockwork) arrive(name string) {
	c.push(&job{peer: name, arrived: c.at})
}

func (c *clockwork) takeAll() (names []string) {
	for j := c.take(); j != nil; j = c.take() {
		names = append(names, j.peer)
	}
	return names
}

func TestTheNewestRequestIsFirst(t *testing.T) {
	t.Parallel()
	c := newClockwork(8)
	for _, n := range []string{"a", "b", "c"} {
		c.arrive(n)
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, c.takeAll()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestWhatIsPastItsDeadlineIsDropped(t *testing.T) {
	t.Parallel()
	c := newClockwork(8)
	c.arrive("old")
	c.at = c.at.Add(time.Second)
	c.arrive("young")
	c.at = c.at.Add(time.Millisecond)
	if diff := cmp.Diff([]string{"young"}, c.takeAll()); diff != "" || c.forgot[forgotOld] != 1 {
		t.Errorf("forgot %v (-want +got):\n%s", c.forgot, diff)
	}
}

func TestAFullQueueDropsTheOldest(t *testing.T) {
	t.Parallel()
	c := newClockwork(2)
	for _, n := range []string{"a", "b", "c"} {
		c.arrive(n)
	}
	if diff := cmp.Diff([]string{"c", "b"}, c.takeAll()); diff != "" || c.forgot[forgotFull] != 1 {
		t.Errorf("forgot %v (-want +got):\n%s", c.forgot, diff)
	}
}

// Whatever comes and goes, what is given is the newest that is there and young
// enough, and nothing is lost without being counted.
func TestAQueueGivesTheNewestAndCountsTheRest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 5).Draw(rt, "size")
		c := newClockwork(size)
		var model []time.Time
		pushed, given := 0, 0
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 2).Draw(rt, "step") {
			case 0:
				c.arrive("")
				pushed++
				model = append(model, c.at)
				if len(model) > size {
					model = model[1:]
				}
			case 1:
				c.at = c.at.Add(time.Duration(rapid.IntRange(0, 700).Draw(rt, "ms")) * time.Millisecond)
			case 2:
				for len(model) > 0 && c.at.Sub(model[0]) > time.Second {
					model = model[1:]
				}
				j := c.take()
				if (j == nil) != (len(model) == 0) {
					rt.Fatalf("given %v, want one of %d", j, len(model))
				}
				if j != nil {
					given++
					if want := model[len(model)-1]; !j.arrived.Equal(want) {
						rt.Fatalf("arrived %v, want %v", j.arrived, want)
					}
					model = model[:len(model)-1]
				}
			}
		}
		if lost := c.forgot[forgotOld] + c.forgot[forgotFull]; pushed != given+lost+c.length() {
			rt.Fatalf("%d came, %d given, %d dropped, %d left", pushed, given, lost, c.length())
		}
	})
}

func TestWorkersThatSleepAreWokenForEachRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(64, time.Second, time.Now, func(string) {})
		ctx, cancel := context.WithCancel(t.Context())
		busy := make(chan struct{}, 8)
		for range 4 {
			go func() {
				for q.pop(ctx) != nil {
					time.Sleep(100 * time.Millisecond)
					busy <- struct{}{}
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		for range 4 {
			q.push(&job{arrived: time.Now()})
		}
		for range 4 {
			<-busy
		}
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("four workers did four jobs of 100 ms in %v", took)
		}
		cancel()
		synctest.Wait()
	})
}
