package limit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/limit"
)

func TestATakenSlotIsFreeOnceItIsReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots := limit.NewSlots(1)
		release, ok := slots.TryTake()
		if !ok {
			t.Fatal("a free slot cannot be taken")
		}
		if _, ok := slots.TryTake(); ok {
			t.Error("one slot is taken twice")
		}
		if _, err := slots.TakeWithin(t.Context(), -time.Second); !errors.Is(err, limit.ErrFull) {
			t.Errorf("a slot that is taken, without patience: %v", err)
		}
		if _, err := slots.TakeWithin(t.Context(), time.Second); !errors.Is(err, limit.ErrFull) {
			t.Errorf("a slot that stays taken is waited for in vain: %v", err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := slots.Take(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone: %v", err)
		}
		time.AfterFunc(time.Second, release)
		again, err := slots.TakeWithin(t.Context(), 2*time.Second)
		if err != nil {
			t.Fatalf("a slot that is released in time: %v", err)
		}
		again()
		for range 100 {
			if release, err = slots.TakeWithin(t.Context(), 0); err != nil {
				t.Fatalf("a slot that is free, without patience: %v", err)
			}
			release()
		}
		if _, err := slots.Take(t.Context()); err != nil {
			t.Errorf("a slot that is free: %v", err)
		}
	})
}

func TestAPersonHasAShareOfItsOwn(t *testing.T) {
	t.Parallel()
	shares := limit.NewShares()
	for range limit.MaxShare {
		if !shares.Take("ann") {
			t.Fatal("a share is used up too early")
		}
	}
	if shares.Take("ann") {
		t.Errorf("a person has more than %d open", limit.MaxShare)
	}
	if !shares.Take("bob") {
		t.Error("one person's share is another's")
	}
	shares.GiveBack("ann")
	if !shares.Take("ann") {
		t.Error("what was given back cannot be taken")
	}
}

func TestAPersonsOwnSlotsAreNoOtherPersons(t *testing.T) {
	t.Parallel()
	places := limit.NewOwn(1)
	take := func(actor string) (release func(), ok bool) {
		slots, done := places.Of(actor)
		free, ok := slots.TryTake()
		if !ok {
			done()
		}
		return func() { free(); done() }, ok
	}
	release, ok := take("ann")
	if !ok {
		t.Fatal("a person's own slot is not free")
	}
	if _, ok := take("ann"); ok {
		t.Error("a person's only slot is taken twice")
	}
	if _, ok := take("bob"); !ok {
		t.Error("one person's slot is another's")
	}
	release()
	if _, ok := take("ann"); !ok {
		t.Error("what was released cannot be taken")
	}
}

func TestAPersonAsksTenTimesAtOnceAndThenOnceASecond(t *testing.T) {
	t.Parallel()
	rates, now := limit.NewRates(), time.Now()
	take := func(actor string, after time.Duration) bool { return rates.Take(actor, now.Add(after)) }
	for range 10 {
		if !take("ann", 0) {
			t.Fatal("a person is held up too early")
		}
	}
	if take("ann", 0) || !take("bob", 0) {
		t.Error("the eleventh time is not too many, or it is another person's, too")
	}
	if !take("ann", time.Second) || take("ann", time.Second) {
		t.Error("a second later a person may not ask just once more")
	}
}
