package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/install/apply"
)

// setupKeyName is the key of the Secret in which Zitadel's setup writes the key of the
// first account.
const setupKeyName = SetupAccount + ".json"

// awaitKey remembers, before the setup is started, that there is no key: the one that is
// there afterwards is the setup's, also where this run is cut off in between.
func (r *run) awaitKey(ctx context.Context) error {
	if r.DryRun || r.record.Ready || r.record.KeyAwaited || r.record.SetupKey != "" {
		return nil
	}
	values, err := r.read(ctx, SetupAccount)
	if err != nil || values != nil {
		return err
	}
	r.record.KeyAwaited = true
	return r.remember(ctx)
}

// keyThere remembers the key that the setup made. It says so where the setup left none:
// it made no instance, since the database had one.
func (r *run) keyThere(ctx context.Context) error {
	if r.DryRun || r.record.Ready {
		return nil
	}
	values, err := r.read(ctx, SetupAccount)
	if err != nil {
		return err
	}
	if r.record.KeyAwaited {
		r.record.KeyAwaited = false
		if key, _, err := r.key(ctx); err == nil {
			r.record.SetupKey = key.ID
		}
		if err := r.remember(ctx); err != nil { // before a person is asked for a key
			return err
		}
	}
	if len(values[setupKeyName]) > 0 {
		return nil
	}
	if err := r.removeJobs(ctx); err != nil {
		return err
	}
	return &FailedError{
		fmt.Errorf("zitadel's setup ended well and left no Secret %s: this database already has an instance, of an earlier installation", SetupAccount),
		fmt.Sprintf("give the key of an account of that instance with the role IAM_OWNER: kubectl -n %s create secret generic %s --from-file=%s=FILE. Or drop the database and make an empty one. Then the same command again.", r.Namespace, SetupAccount, setupKeyName),
	}
}

// removeJobs has the Jobs run once more. Their mark is the same where the database was
// dropped and made again.
func (r *run) removeJobs(ctx context.Context) error {
	for _, o := range r.release.before {
		if o.GetKind() != "Job" {
			continue
		}
		there, err := r.applier.Get(ctx, o)
		if err != nil {
			return err
		}
		if there == nil {
			continue
		}
		if err := r.remove(ctx, there); err != nil {
			return err
		}
	}
	return nil
}

// key reads the key of the Secret, and gives its text.
func (r *run) key(ctx context.Context) (*openid.Key, []byte, error) {
	values, err := r.read(ctx, SetupAccount)
	if err != nil {
		return nil, nil, err
	}
	text := values[setupKeyName]
	key, err := openid.ParseKey(text)
	if err != nil {
		return nil, nil, &FailedError{
			fmt.Errorf("key %s of Secret %s cannot be read: %w", setupKeyName, SetupAccount, err), r.anotherKey(),
		}
	}
	return key, text, nil
}

// keyFile writes the key of the Secret into a directory of its own, which the caller
// removes.
func (r *run) keyFile(ctx context.Context) (string, error) {
	_, text, err := r.key(ctx)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "fleetctl-") // of mode 0700
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, setupKeyName)
	const mode = 0o600
	if err := os.WriteFile(path, text, mode); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return path, nil
}

// forget removes the key that the setup made, which has all rights, at the provider and
// from its Secret. A key that a person put there stays.
func (r *run) forget(ctx context.Context) error {
	if r.DryRun || r.KeepKey {
		return nil
	}
	values, err := r.read(ctx, SetupAccount)
	if err != nil || values == nil {
		return err
	}
	secret := object("v1", "Secret", r.Namespace, SetupAccount)
	if key, _, err := r.key(ctx); err != nil || r.record.SetupKey == "" || key.ID != r.record.SetupKey {
		r.say("setup", "%s has a key that the setup did not make. It was left there, and at the provider. Nothing needs it any more: kubectl -n %s delete secret %s.", apply.Name(secret), r.Namespace, SetupAccount)
		return nil //nolint:nilerr // what cannot be read is not the setup's key
	}
	client, session, err := r.signIn(ctx)
	switch {
	case refusedKey(err): // an earlier run removed it at the provider
	case err != nil:
		return err
	default:
		if err := session.RemoveKey(ctx, client); err != nil {
			return err
		}
	}
	if _, err := r.applier.Delete(ctx, secret); err != nil {
		return err
	}
	r.say("setup", "The key of account %s, which has all rights, was removed at the provider, and with it %s.", SetupAccount, apply.Name(secret))
	return nil
}

// refusedKey says whether the provider does not know a key, or not any more.
func refusedKey(err error) bool {
	var no *openid.Refusal
	return errors.As(err, &no) && no.Code == "invalid_grant"
}

// stale is what to do about a key that the provider refuses.
func (r *run) stale(err error) error {
	return &FailedError{
		fmt.Errorf("the provider does not take the key in Secret %s: it is of another database, or was removed: %w", SetupAccount, err), r.anotherKey(),
	}
}

// anotherKey is how a person replaces the key.
func (r *run) anotherKey() string {
	return fmt.Sprintf("replace it by the key of an account with the role IAM_OWNER: kubectl -n %s delete secret %s; kubectl -n %[1]s create secret generic %[2]s --from-file=%s=FILE. Then the same command again.", r.Namespace, SetupAccount, setupKeyName)
}
