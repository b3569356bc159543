package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// setupKeyName is the key of the Secret in which Zitadel's setup writes the key of the
// first account.
const setupKeyName = SetupAccount + ".json"

// keyThere says so where the setup left no key of a first account: it made no instance,
// since the database had one.
func (r *run) keyThere(ctx context.Context) error {
	if r.DryRun || r.record.Ready {
		return nil
	}
	values, err := r.read(ctx, SetupAccount)
	if err != nil || len(values[setupKeyName]) > 0 {
		return err
	}
	return &FailedError{
		fmt.Errorf("zitadel's setup ended well and left no Secret %s: this database already has an instance, of an earlier installation", SetupAccount),
		fmt.Sprintf("give the key of an account of that instance with the role IAM_OWNER: kubectl -n %s create secret generic %s --from-file=%s=FILE. Or drop the database and make an empty one. Then the same command again.", r.Namespace, SetupAccount, setupKeyName),
	}
}

// provision makes at the provider what a fleet needs there, by the key of the first
// account.
func (r *run) provision(ctx context.Context) error {
	if r.DryRun {
		return nil
	}
	if r.record.Ready {
		r.say("setup", "What the fleet needs at the provider was made by an earlier run. fleetctl zitadel setup changes it.")
		return nil
	}
	client, _, err := r.signIn(ctx)
	if err != nil {
		return err
	}
	s, err := setup.New(setup.Options{Wanted: r.Setup, Client: client, Dir: r.Keys, Now: r.Now})
	if err != nil {
		return err
	}
	out, err := s.Carry(ctx, func(step setup.Step) { r.say("setup", "%s %s %s.", step.Kind, step.Name, step.Action) })
	if err != nil {
		return err
	}
	var ca []byte
	if r.CAFile != "" {
		if ca, err = os.ReadFile(r.CAFile); err != nil {
			return err
		}
	}
	if err := out.Save(r.Keys, r.Wanted.Issuer, ca); err != nil {
		return err
	}
	r.result.Made = &out
	r.record.Ready = true
	return r.remember(ctx)
}

// forget removes the key of the first account, which has all rights, at the provider and
// from its Secret.
func (r *run) forget(ctx context.Context) error {
	if r.DryRun || r.KeepKey {
		return nil
	}
	values, err := r.read(ctx, SetupAccount)
	if err != nil || values == nil {
		return err
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
	if _, err := r.applier.Delete(ctx, object("v1", "Secret", r.Namespace, SetupAccount)); err != nil {
		return err
	}
	r.say("setup", "The key of account %s, which has all rights, was removed at the provider, and with it %s.", SetupAccount, apply.Name(object("v1", "Secret", r.Namespace, SetupAccount)))
	return nil
}

const (
	settle   = time.Minute
	tryEvery = time.Second
)

// refusedKey says whether the provider does not know a key, or not any more.
func refusedKey(err error) bool {
	var no *openid.Refusal
	return errors.As(err, &no) && no.Code == "invalid_grant"
}

// signIn waits until the provider answers at its address, and gives a token for the
// first account's key.
func (r *run) signIn(ctx context.Context) (client *zitadel.Client, session *zitadel.Session, err error) {
	values, err := r.read(ctx, SetupAccount)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "fleetctl-") // of mode 0700
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, setupKeyName)
	const mode = 0o600
	if err := os.WriteFile(file, values[setupKeyName], mode); err != nil {
		return nil, nil, err
	}
	deadline := time.NewTimer(r.Timeout)
	defer deadline.Stop()
	for told, refusedSince := "", (time.Time{}); ; {
		session, err = zitadel.SignIn(ctx, zitadel.SignInOptions{Issuer: r.Wanted.Issuer, CAFile: r.CAFile, KeyFile: file, Now: r.Now})
		if err == nil {
			client, err = zitadel.New(zitadel.Options{Issuer: r.Wanted.Issuer, Tokens: session, CAFile: r.CAFile, Now: r.Now})
			return client, session, err
		}
		if refusedKey(err) {
			if refusedSince.IsZero() {
				refusedSince = time.Now()
			}
			if r.record.Ready || time.Since(refusedSince) > r.Settle {
				return nil, nil, r.stale(err)
			}
		} else {
			refusedSince = time.Time{}
		}
		if said := err.Error(); said != told {
			r.Tell(Progress{Step: "provider", Sentence: fmt.Sprintf("%s does not let the first account in yet: %v.", r.Wanted.Issuer, err), Waiting: true})
			told = said
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-deadline.C:
			if refusedKey(err) {
				return nil, nil, r.stale(err)
			}
			return nil, nil, &FailedError{
				fmt.Errorf("the provider does not answer at %s: %w", r.Wanted.Issuer, err),
				"check that the name leads from here to the cluster's ingress, its certificate (--tls-secret, --ca-file) and its log: kubectl -n " + r.Namespace + " logs deployment/zitadel. Then the same command again.",
			}
		case <-time.After(tryEvery):
		}
	}
}

// stale is what to do about a key that the provider refuses.
func (r *run) stale(err error) error {
	return &FailedError{
		fmt.Errorf("the provider does not take the key in Secret %s: it is of another database, or was removed: %w", SetupAccount, err),
		fmt.Sprintf("replace it by the key of an account with the role IAM_OWNER: kubectl -n %s delete secret %s; kubectl -n %[1]s create secret generic %[2]s --from-file=%s=FILE. Then the same command again.", r.Namespace, SetupAccount, setupKeyName),
	}
}
