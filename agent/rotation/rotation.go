// Package rotation gives a connected device another key of its own: asked over the bus
// it makes a pair, and adopts it once the provider gives a token for it.
//
// Guarantees:
//   - The private half of a key never leaves the device.
//   - The key file holds another key only once the provider gave a token for that one:
//     a request that is wrong or forged takes a device's identity from nobody.
//   - Each answer has a proof that the device has the key of which it speaks. Only the
//     holder of that key can make one.
//   - The machine user stays the one that the device has: no request names one.
package rotation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"fleet.nationtech.io/agent/keyfile"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/eventlog"
)

// Trial asks the provider for a token by a key that the key file does not hold yet.
type Trial interface {
	Try(ctx context.Context, k *openid.Key) error
}

// tryInterval is between two tries to get a token for a new key.
const tryInterval = 2 * time.Second

// Options wire a Rotation. All but Logger are required.
type Options struct {
	Device string
	Issuer string // of the provider, for which proofs are made
	File   keyfile.File
	Trial  Trial
	Now    func() time.Time // by the provider's clock
	// Adopted is told that the key file holds another key.
	Adopted func()
	Logger  *slog.Logger
}

// Rotation answers command key of one device.
type Rotation struct {
	options Options
	mu      sync.Mutex // held while a key is made or adopted
}

// New wires a rotation. It touches nothing.
func New(o Options) (*Rotation, error) {
	if o.Device == "" || o.Issuer == "" || o.Trial == nil || o.Now == nil || o.Adopted == nil {
		return nil, errors.New("a rotation needs a device, a provider, a trial, a clock and somebody to tell")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Rotation{options: o}, nil
}

var errBusy = errors.New("another request for command key is in progress on this device: ask again in a minute")

// Answer does what a user asks, which takes up to eventlog.KeyAdoptTimeout, and gives
// the answer.
func (r *Rotation) Answer(ctx context.Context, user string, request []byte) eventlog.KeyAnswer {
	var q eventlog.KeyRequest
	var public []byte
	err := json.Unmarshal(request, &q)
	switch {
	case err != nil:
		err = errors.New("the request is no JSON of command key")
	case len(q.Nonce) > eventlog.MaxKeyNonce:
		err = fmt.Errorf("the nonce has %d bytes, and may have %d", len(q.Nonce), eventlog.MaxKeyNonce)
	case q.Phase == eventlog.KeyShow:
	case q.Phase != eventlog.KeyCreate && q.Phase != eventlog.KeyAdopt:
		err = fmt.Errorf("%.40q is no phase of command key; phases: %s, %s, %s", string(q.Phase), eventlog.KeyShow, eventlog.KeyCreate, eventlog.KeyAdopt)
	case !r.mu.TryLock():
		err = errBusy
	default:
		if q.Phase == eventlog.KeyCreate {
			public, err = r.options.File.Create()
		} else {
			err = r.adopt(ctx, user, q)
		}
		r.mu.Unlock()
	}
	a := eventlog.KeyAnswer{DeviceID: r.options.Device, PublicKey: string(public)}
	if err = cmp.Or(err, r.show(&a, q.Nonce)); err != nil {
		a.Busy = errors.Is(err, errBusy)
		a.Error = err.Error()
		r.options.Logger.Warn("cannot do what is asked of the device's key", "phase", q.Phase, "user", user, "error", err)
	}
	return a
}

// show says which key the device has, and proves it.
func (r *Rotation) show(a *eventlog.KeyAnswer, nonce string) error {
	k, err := openid.ReadKey(r.options.File.Path())
	if err == nil {
		a.KeyID, a.UserID, a.Expires = k.ID, k.UserID, k.Ends.UTC()
		a.Proof, err = k.Assertion(r.options.Issuer, r.options.Now(), map[string]any{
			eventlog.ClaimKeyNonce: nonce, eventlog.ClaimKeyPublic: eventlog.KeyDigest(a.PublicKey),
		})
	}
	s, showErr := r.options.File.Show()
	a.Pending = s.Pending
	switch err = cmp.Or(err, showErr); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, keyfile.ErrNone):
		return nil // it has none
	case err != nil:
		return err
	}
	return nil
}

// adopt replaces the key file once the provider gave a token for the new key.
func (r *Rotation) adopt(ctx context.Context, user string, q eventlog.KeyRequest) error {
	o := r.options
	if !q.Expires.After(o.Now()) {
		return fmt.Errorf("the new key would end at %s, which is past by this device's clock", q.Expires.UTC().Format(time.RFC3339))
	}
	a := keyfile.Adoption{KeyID: q.KeyID, UserID: o.Device, Expires: q.Expires}
	if k, err := openid.ReadKey(o.File.Path()); err == nil {
		a.UserID = k.UserID
	}
	c, err := o.File.Prepare(a)
	if err != nil {
		return err
	}
	defer c.Discard()
	if c.Installed() {
		return c.Install() // it takes a pair away that a power cut left behind
	}
	if err := r.try(ctx, c.Key); err != nil {
		return fmt.Errorf("the device keeps its key, as the provider gave no token for the new one within %s: %w", eventlog.KeyAdoptTimeout, err)
	}
	if err := c.Install(); err != nil {
		return err
	}
	o.Logger.Info("the device has another key", "key", a.KeyID, "expires", a.Expires.UTC(), "user", user)
	o.Adopted()
	return nil
}

// try asks for a token by a new key until there is one, as a provider may not show a
// key for some seconds.
func (r *Rotation) try(ctx context.Context, k *openid.Key) error {
	ctx, cancel := context.WithTimeout(ctx, eventlog.KeyAdoptTimeout)
	defer cancel()
	tick := time.NewTicker(tryInterval)
	defer tick.Stop()
	var last error
	for {
		err := r.options.Trial.Try(ctx, k)
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil || last == nil:
			last = err // what the context's end makes of a try says nothing
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}
