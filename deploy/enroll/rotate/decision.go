package rotate

import (
	"slices"
	"time"
)

const (
	// recent is for how long a key counts as new: a run that was broken off and begun
	// again leaves alone what it did before.
	recent = 24 * time.Hour

	keyLife   = 730 * 24 * time.Hour
	keySpread = 91 * 24 * time.Hour // a quarter of a year
)

// Expiry is when a key that is made now shall end: two years, give or take a random
// quarter, so that a fleet's keys do not end at once. random is in [0, 1).
func Expiry(now time.Time, random float64) time.Time {
	spread := time.Duration((2*random - 1) * float64(keySpread))
	return now.Add(keyLife + spread).UTC().Truncate(time.Second)
}

// step is what is to be done about a device's keys.
type step string

const (
	replace step = "replace" // give it a new key, then remove its former ones
	finish  step = "finish"  // it has a new key: remove its former ones
)

// decide says what is to be done about a device that has one key, of those at the
// provider. It is pure.
//
// A key that is newer than the device's own is one that no device took. So the device's
// own counts as new, which is one made since then, only where it is the newest.
func decide(has string, keys []Key, since time.Time, force bool) step {
	own := find(has, keys)
	newer := slices.ContainsFunc(keys, func(k Key) bool { return k.Created.After(own.Created) })
	if own.ID == "" || own.Created.IsZero() || own.Created.Before(since) || newer || force {
		return replace
	}
	return finish
}

// former are the keys that go once a device has one: those that are not newer. A newer
// one may be what another run, at the same time, has the device adopt next. keys were
// listed before the device's own was added, where it is new, and later ones after. It
// is pure.
func former(has string, keys, later []Key) (ids []string) {
	own := find(has, slices.Concat(keys, later))
	for _, k := range slices.Concat(keys, later) {
		before := k.Created.Before(own.Created)
		if own.Created.IsZero() || k.Created.IsZero() { // what the provider does not say, or not yet
			before = find(k.ID, keys).ID != ""
		}
		if k.ID != has && before && !slices.Contains(ids, k.ID) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// find gives the key of an id; the zero one where there is none.
func find(id string, keys []Key) Key {
	for _, k := range keys {
		if k.ID == id {
			return k
		}
	}
	return Key{}
}
