package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

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

const (
	settle   = time.Minute
	tryEvery = time.Second
)

// signIn waits until the provider answers at its address, and gives a token for the
// first account's key.
func (r *run) signIn(ctx context.Context) (client *zitadel.Client, session *zitadel.Session, err error) {
	file, err := r.keyFile(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Dir(file))) }()
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
