package enroll

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/enroll/rotate"
)

// KeyEnd is when a key ends that is made now: a new one of a device that is enrolled
// lives as long as one of a device that gets another. spread is from 0 to 1.
func KeyEnd(now time.Time, spread float64) time.Time { return rotate.Expiry(now, spread) }

// key gives the device its key.
func (w *work) key(ctx context.Context) (string, error) {
	if w.Wish.Auth.Flavour == ZitadelJWT {
		if w.facts.KeyID != "" && w.facts.KeyID != w.Wish.Auth.Key.ID {
			if _, err := w.run(ctx, "keep the former key", `cp -p "$1" "$1.former"`, config.DefaultKeyFile); err != nil {
				return "", err
			}
		}
		return w.file(machine.File{Path: config.DefaultKeyFile, Mode: 0o600, Content: w.Wish.Auth.Key.Content})(ctx)
	}
	if u := w.known.User; u.has(w.facts.KeyID) && w.facts.KeyUser == w.Wish.ID &&
		(w.facts.KeyExpires.IsZero() || !w.facts.KeyExpires.Before(w.known.Now.Add(renewBefore))) {
		_, err := w.run(ctx, "protect the key", `chown 0:0 "$1" && chmod 0600 "$1"`, config.DefaultKeyFile)
		return "", err
	}
	return w.mint(ctx)
}

// mint has the device make a key pair and registers its public half. The device makes
// the same pair known again where an enrolment was broken off between the two: the
// provider then has it twice, and the key that the device did not adopt goes with the
// old ones.
func (w *work) mint(ctx context.Context) (string, error) {
	if err := w.owe(ctx); err != nil {
		return "", err
	}
	r, err := w.run(ctx, "make a key on the device", `"$1" key create --key-file "$2"`, w.agent(), config.DefaultKeyFile)
	if err != nil {
		return "", err
	}
	public, err := publicPEM(r.Stdout)
	if err != nil {
		return "", err
	}
	ends := KeyEnd(w.Now(), w.Spread())
	id, err := w.Provider.AddKey(ctx, w.Wish.ID, public, ends)
	if err != nil {
		return "", fmt.Errorf("register the device's key at the provider: %w", err)
	}
	_, err = w.run(ctx, "adopt the key on the device", `"$1" key adopt --key-id "$2" --user-id "$3" --expires "$4" --key-file "$5"`,
		w.agent(), id, w.Wish.ID, ends.Format(time.RFC3339), config.DefaultKeyFile)
	if err != nil {
		return "", err
	}
	w.keyID = id
	return fmt.Sprintf("%s, made on the device, until %s", id, ends.Format(time.DateOnly)), nil
}

// publicPEM takes nothing but a public key: what a device says goes to the provider.
func publicPEM(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("make a key on the device: it did not give a public key in PEM")
	}
	return pem.EncodeToMemory(block), nil
}

// oldKeys removes the keys that the device does not use, once it is in. That is what
// takes the id from another machine, too.
func (w *work) oldKeys(ctx context.Context) (Step, error) {
	switch {
	case w.Wish.Auth.Flavour != Zitadel:
		return Step{}, nil
	case w.Fleet == nil:
		return Step{Name: StepOldKeys, State: Kept, Detail: "others are left at the provider, as the fleet was not asked whether the device is in"}, nil
	}
	current := w.keyID
	if current == "" {
		current = w.facts.KeyID
	}
	u, err := w.lookUp(ctx, current)
	if err != nil {
		return Step{}, fmt.Errorf("list the keys of %s: %w", w.Wish.ID, err)
	}
	if w.keyID == "" && (len(u.Keys) > 1 || !u.has(current)) {
		// The device's key may have been rotated meanwhile.
		if current, err = w.currentKey(ctx); err != nil {
			return Step{}, err
		}
	}
	if !u.has(current) {
		return Step{Name: StepOldKeys, State: Unknown, Detail: "none is removed, as the provider does not list the device's own key " + current}, nil
	}
	removed := 0
	for _, k := range u.Keys {
		if k.ID == current {
			continue
		}
		if err := w.Provider.RemoveKey(ctx, w.Wish.ID, k.ID); err != nil {
			return Step{}, fmt.Errorf("remove key %s of %s at the provider: %w", k.ID, w.Wish.ID, err)
		}
		removed++
	}
	if removed == 0 {
		return ok(StepOldKeys, "there are none"), nil
	}
	return change(StepOldKeys, "%d removed at the provider", removed), nil
}

// currentKey asks the device for the key that it has now.
func (w *work) currentKey(ctx context.Context) (string, error) {
	r, err := w.run(ctx, "look at the device's key", `"$1" key show --key-file "$2"`, w.agent(), config.DefaultKeyFile)
	if err != nil {
		return "", err
	}
	var k struct {
		ID string `json:"key_id"`
	}
	if err := json.Unmarshal(r.Stdout, &k); err != nil || k.ID == "" {
		return "", errors.New("look at the device's key: the agent does not say which one it has")
	}
	return k.ID, nil
}
