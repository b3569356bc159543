package rotate

import "time"

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
	replace step = "replace" // give it a new key, then remove all others
	finish  step = "finish"  // it has a new key: remove all others
	rest    step = "rest"    // it has a new key, and there is no other
)

// decide says what is to be done about a device that has one key, and which of the keys
// at the provider are others. It is pure.
//
// A key that is newer than the device's own is one that no device took. So the device's
// own counts as new, which is one made since then, only where it is the newest.
func decide(has string, keys []Key, since time.Time, force bool) (next step, others []string) {
	var own Key
	var newest time.Time
	for _, k := range keys {
		if k.ID == has {
			own = k
			continue
		}
		others = append(others, k.ID)
		if k.Created.After(newest) {
			newest = k.Created
		}
	}
	fresh := own.ID != "" && !own.Created.IsZero() && !own.Created.Before(since) && !newest.After(own.Created)
	switch {
	case !fresh || force:
		return replace, others
	case len(others) > 0:
		return finish, others
	}
	return rest, nil
}
