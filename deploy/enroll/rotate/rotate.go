// Package rotate gives devices new keys beside their present ones, over the bus, and
// removes the former keys at the provider once the new ones work.
//
// Guarantees:
//   - A key is removed only while the device has another one for which the provider
//     gave it a token.
//   - Broken off at any step and run again, it goes on: a device that adopted its key
//     keeps it, and its former key is removed; a key that no device took is removed.
//   - Nobody but the holder of the device's present key gets another key in its name:
//     each answer on which something is done at the provider is signed by the key that
//     the device has, and the provider verifies it.
//   - A device chooses neither the machine user nor the keys of any other: all that is
//     asked of the provider is about the user that has the device's own id.
package rotate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
)

// Key is a key of a machine user, as the provider lists it.
type Key struct {
	ID      string
	Created time.Time // zero: the provider does not say
}

// Provider keeps the machine users' keys.
type Provider interface {
	Keys(ctx context.Context, userID string) ([]Key, error)
	AddKey(ctx context.Context, userID string, publicPEM []byte, expires time.Time) (keyID string, err error)
	// RemoveKey is a success where the key is not there.
	RemoveKey(ctx context.Context, userID, keyID string) error
}

// Bus asks devices for command key. An error says that there is no answer; what the
// device itself could not do is in the answer.
type Bus interface {
	Ask(ctx context.Context, device string, q eventlog.KeyRequest) (eventlog.KeyAnswer, error)
}

// Options wire a Rotator. All but Force, Since and Unproven are required.
type Options struct {
	Provider Provider
	Issuer   Issuer
	Bus      Bus
	Now      func() time.Time
	Random   func() float64 // in [0, 1)
	// Force replaces keys that are new, too.
	Force bool
	// Since is from when on a key counts as new, so that it is left alone; zero: since a
	// day before Now.
	Since time.Time
	// Unproven trusts the answers of devices without a proof, as of one whose key has
	// ended: who holds a token of the device can then take its identity.
	Unproven bool
}

// Rotator gives devices new keys. It may be used for several devices at once.
type Rotator struct{ options Options }

// New wires a rotator. It asks nobody.
func New(o Options) (*Rotator, error) {
	if o.Provider == nil || o.Issuer == nil || o.Bus == nil || o.Now == nil || o.Random == nil {
		return nil, errors.New("a rotator needs a provider, its issuer, a bus, a clock and randomness")
	}
	return &Rotator{options: o}, nil
}

// Outcome is what came of one device.
type Outcome string

// The outcomes.
const (
	// Rotated: the device has a new key, and no other key of it stands.
	Rotated Outcome = "Rotated"
	// Finished: the device had its new key from an earlier run, and now no other key of
	// it stands.
	Finished Outcome = "Finished"
	// Recent: the device's key is new, and it keeps it.
	Recent Outcome = "Recent"
	// Failed: Err says why.
	Failed Outcome = "Failed"
)

// Result is what came of one device.
type Result struct {
	Device  string
	Outcome Outcome
	KeyID   string    // that the device has after it, as far as that is known
	Expires time.Time // when that key ends; zero where it is not known
	Removed []string  // keys that were removed at the provider
	Err     error
}

// Rotate gives one device a new key. It waits for a device that is at work on what an
// earlier run asked.
func (r *Rotator) Rotate(ctx context.Context, device string) Result {
	const longest = eventlog.KeyAdoptTimeout + 10*time.Second
	for began := time.Now(); ; {
		out := r.rotate(ctx, device)
		if !errors.Is(out.Err, errBusy) || ctx.Err() != nil || time.Since(began) > longest {
			return out
		}
		pause.For(ctx, busyPause)
	}
}

// busyPause is how long a device that is at work is left alone.
const busyPause = 2 * time.Second

// errBusy says that a device is at work on another request.
var errBusy = errors.New("the device is at work on another request for its key: run it again in a minute")

func (r *Rotator) rotate(ctx context.Context, device string) Result {
	out := Result{Device: device, Outcome: Failed}
	show := r.question(eventlog.KeyShow)
	has, err := r.ask(ctx, device, show)
	if err != nil {
		out.Err = err
		return out
	}
	out.KeyID, out.Expires = has.KeyID, has.Expires
	if has.UserID != "" && has.UserID != device {
		out.Err = fmt.Errorf("its key is of machine user %.80q, which is not named as the device: enrol it again, so that its machine user has its id", has.UserID)
		return out
	}
	keys, err := r.options.Provider.Keys(ctx, device)
	if err != nil {
		out.Err = fmt.Errorf("list its keys: %w", err)
		return out
	}
	since := r.options.Since
	if since.IsZero() {
		since = r.options.Now().Add(-recent)
	}
	next, others := decide(has.KeyID, keys, since, r.options.Force), former(has.KeyID, keys, nil)
	switch {
	case next == finish && len(others) == 0:
		out.Outcome = Recent
		return out
	case next == finish:
		if err := r.prove(ctx, device, show, has); err != nil {
			out.Err = err
			return out
		}
		out.Outcome = Finished
	default:
		adopted, err := r.replace(ctx, device)
		if err != nil {
			out.Err = err
			return out
		}
		out.Outcome, out.KeyID, out.Expires = Rotated, adopted.KeyID, adopted.Expires
		// The list from before may lack what was just added by a run that was broken off.
		later, err := r.options.Provider.Keys(ctx, device)
		if err != nil {
			out.Outcome, out.Err = Failed, fmt.Errorf("it has its new key %s; list its former keys: %w", adopted.KeyID, err)
			return out
		}
		others = former(adopted.KeyID, keys, later)
	}
	for _, id := range others {
		if err := r.options.Provider.RemoveKey(ctx, device, id); err != nil {
			out.Outcome, out.Err = Failed, fmt.Errorf("it has its new key %s; remove its former key %s: %w", out.KeyID, id, err)
			return out
		}
		out.Removed = append(out.Removed, id)
	}
	return out
}

// question begins a question with a nonce of its own.
func (r *Rotator) question(p eventlog.KeyPhase) eventlog.KeyRequest {
	return eventlog.KeyRequest{Phase: p, Nonce: rand.Text()}
}

// ask asks a device, and makes an error of what it could not do.
func (r *Rotator) ask(ctx context.Context, device string, q eventlog.KeyRequest) (eventlog.KeyAnswer, error) {
	a, err := r.options.Bus.Ask(ctx, device, q)
	if err != nil {
		return a, err
	}
	if a.Busy {
		return a, errBusy
	}
	if a.Error != "" {
		return a, refusal(a.Error)
	}
	if a.DeviceID != device {
		return a, fmt.Errorf("the answer speaks of device %.80q", a.DeviceID)
	}
	return a, nil
}

// refusal is the device's own word that it did not do what it was asked.
type refusal string

func (r refusal) Error() string { return "the device says: " + string(r) }

// maxPublicKey is more than the public half of any key that a provider takes.
const maxPublicKey = 4 << 10

// replace has a device make and adopt a new key.
func (r *Rotator) replace(ctx context.Context, device string) (eventlog.KeyAnswer, error) {
	create := r.question(eventlog.KeyCreate)
	made, err := r.ask(ctx, device, create)
	switch {
	case err != nil:
		return made, fmt.Errorf("make a new key: %w", err)
	case made.PublicKey == "" || len(made.PublicKey) > maxPublicKey:
		return made, errors.New("make a new key: the device's answer holds no public key")
	}
	if err := r.prove(ctx, device, create, made); err != nil {
		return made, fmt.Errorf("make a new key: %w", err)
	}
	expires := Expiry(r.options.Now(), r.options.Random())
	id, err := r.options.Provider.AddKey(ctx, device, []byte(made.PublicKey), expires)
	if err != nil {
		return made, fmt.Errorf("add its new key at the provider: %w", err)
	}
	adopt := r.question(eventlog.KeyAdopt)
	adopt.KeyID, adopt.Expires = id, expires
	adopted, err := r.ask(ctx, device, adopt)
	var no refusal
	switch {
	case errors.As(err, &no) && adopted.KeyID != id:
		err = fmt.Errorf("adopt its new key: %w", err)
		if unsure := r.prove(ctx, device, adopt, adopted); unsure != nil {
			return adopted, fmt.Errorf("%w (the new key %s stands at the provider until you run it again: %w)", err, id, unsure)
		}
		if gone := r.options.Provider.RemoveKey(ctx, device, id); gone != nil {
			err = fmt.Errorf("%w (and the new key %s still stands at the provider: %w)", err, id, gone)
		}
		return adopted, err
	case err != nil:
		// The answer may be lost, and the key adopted.
		adopt = r.question(eventlog.KeyShow)
		now, showErr := r.ask(ctx, device, adopt)
		if showErr != nil || now.KeyID != id {
			return adopted, fmt.Errorf("adopt its new key %s: it is not known whether the device did, so that both keys stand; run it again: %w", id, err)
		}
		adopted = now
	case adopted.KeyID != id:
		return adopted, fmt.Errorf("adopt its new key %s: the device says that it did, and has key %.80q: look at its journal", id, adopted.KeyID)
	}
	if err := r.prove(ctx, device, adopt, adopted); err != nil {
		return adopted, fmt.Errorf("adopt its new key %s: both keys stand: %w", id, err)
	}
	return adopted, nil
}
