package sealer

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

var began = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

func event(n uint64, family eventlog.Family) eventlog.Event {
	return eventlog.Event{Sequence: n, Recorded: began.Add(time.Duration(n) * time.Second), Address: eventlog.Address{Family: family}}
}

// However seals come in between, a ledger has the tree of the whole log, agrees
// with each seal over a part of it, and with none over another log.
func TestALedgerAgreesWithTheSealsOfItsLogAlone(t *testing.T) {
	t.Parallel()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		l, err := newLedger(eventlog.Seal{})
		if err != nil {
			t.Fatal(err)
		}
		whole, at := seal.NewTree(), map[uint64]*seal.Tree{}
		for n := range rapid.Uint64Range(1, 60).Draw(t, "messages") {
			e := event(n+1, eventlog.FamilyState)
			if err := errors.Join(l.add(e), whole.Add(e)); err != nil {
				t.Fatal(err)
			}
			at[n+1] = whole.Clone()
			if rapid.Bool().Draw(t, "no seal") {
				continue
			}
			size := rapid.Uint64Range(max(1, l.sealed), n+1).Draw(t, "covers")
			s, err := seal.Sign(key, at[size], began)
			if err != nil {
				t.Fatal(err)
			}
			if agrees, err := l.take(s); !agrees || err != nil {
				t.Fatalf("the seal over %d messages: agrees %v, %v", size, agrees, err)
			}
			if l.sealed != size || l.unsealed != int(n+1-size) {
				t.Fatalf("sealed %d, unsealed %d; want %d and %d", l.sealed, l.unsealed, size, n+1-size)
			}
			if size == n+1 {
				s.RootHash[0] ^= 1
				if agrees, _ := l.take(s); agrees {
					t.Fatal("it agrees with another root")
				}
				if l, err = newLedger(eventlog.Seal{TreeSize: size, Peaks: s.Peaks}); err != nil { // as after a restart
					t.Fatal(err)
				}
			}
		}
		head, err := l.head()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(head.Root(), whole.Root()) {
			t.Error("its head is not that of the log")
		}
	})
}

func TestALedgerWithoutSealsKeepsBoundedMemory(t *testing.T) {
	t.Parallel()
	l, err := newLedger(eventlog.Seal{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(2 * maxPending) {
		if err := l.add(event(n+1, eventlog.FamilyState)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.pending) > maxPending || l.size() != 2*maxPending || l.unsealed != 2*maxPending {
		t.Errorf("%d pending of %d, unsealed %d", len(l.pending), l.size(), l.unsealed)
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	const events, interval = 3, 10 * time.Second
	for name, c := range map[string]struct {
		families []eventlog.Family // the first is recorded at one second
		after    time.Duration
		want     bool
	}{
		"nothing came":                  {nil, time.Hour, false},
		"enough came":                   {[]eventlog.Family{eventlog.FamilyState, eventlog.FamilyInfo, eventlog.FamilyLeader}, 3 * time.Second, true},
		"too few came":                  {[]eventlog.Family{eventlog.FamilyState, eventlog.FamilyInfo}, 3 * time.Second, false},
		"one waited for long":           {[]eventlog.Family{eventlog.FamilyState}, 11 * time.Second, true},
		"one waited, not so long":       {[]eventlog.Family{eventlog.FamilyState}, 10 * time.Second, false},
		"seals alone":                   {[]eventlog.Family{eventlog.FamilySeal, eventlog.FamilySeal, eventlog.FamilySeal}, time.Hour, false},
		"a seal does not count":         {[]eventlog.Family{eventlog.FamilySeal, eventlog.FamilyState, eventlog.FamilyState}, 4 * time.Second, false},
		"nor does it begin the waiting": {[]eventlog.Family{eventlog.FamilySeal, eventlog.FamilyState}, 11 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := newLedger(eventlog.Seal{})
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range c.families {
				if err := l.add(event(uint64(i+1), f)); err != nil {
					t.Fatal(err)
				}
			}
			if got := l.due(began.Add(c.after), events, interval); got != c.want {
				t.Errorf("due is %v, want %v", got, c.want)
			}
		})
	}
}
