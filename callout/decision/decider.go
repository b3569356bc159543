// Package decision decides a login: whether the token is genuine, whose it is,
// whether that identity may log in now, and what it may do then.
package decision

import (
	"context"
	"errors"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/audit"
	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog"
)

// Verifier judges tokens: see token.Verifier.
type Verifier interface {
	Verify(token string) (claims.Claims, error)
	Resolve(ctx context.Context, token string) (claims.Claims, error)
}

// Access says whether an identity's access is revoked.
type Access interface {
	Allowed(subject string) error
}

// Limiter counts how often an identity connects.
type Limiter interface {
	Connect(actor string) error
}

// Recorder records what was decided.
type Recorder interface {
	Granted(audit.Grant)
	Denied(audit.Denial)
}

// Options wire a Decider.
type Options struct {
	Verifier Verifier
	Rules    identity.Rules
	Rights   map[string]callout.Right // by role
	Access   Access
	Limiter  Limiter
	Recorder Recorder
}

// Decider decides logins.
type Decider struct{ options Options }

var _ responder.Decider = (*Decider)(nil)

// New wires a Decider.
func New(o Options) *Decider { return &Decider{o} }

// Decide decides by what is at hand.
func (d *Decider) Decide(l responder.Login) (callout.Grant, error) {
	if l.Probe {
		return callout.Grant{}, refusal.New(refusal.TokenMissing, "the replica asked itself")
	}
	if l.Token == "" && l.User != "" {
		return d.conclude(claims.Claims{}, refusal.New(refusal.UnknownUser,
			"no user %.80q is configured in the servers, or it is missing in auth_callout.auth_users; a device or person sends a token, without a user", l.User))
	}
	c, err := d.options.Verifier.Verify(l.Token)
	if errors.Is(err, token.ErrNeedsProvider) {
		return callout.Grant{}, responder.ErrLater
	}
	return d.conclude(c, err)
}

// Resolve decides, and waits for the identity provider.
func (d *Decider) Resolve(ctx context.Context, l responder.Login) (callout.Grant, error) {
	return d.conclude(d.options.Verifier.Resolve(ctx, l.Token))
}

// conclude decides by what the token says, or was refused for, and records it.
func (d *Decider) conclude(c claims.Claims, err error) (callout.Grant, error) {
	var who identity.Identity
	if c.Subject != "" { // signature, issuer and audience hold
		var unknown error
		if who, unknown = d.options.Rules.Of(c); err == nil {
			err = unknown
		}
	}
	var g callout.Grant
	if err == nil {
		g, err = d.grant(who, c)
	}
	if err != nil {
		d.options.Recorder.Denied(denial(who, c, refusal.Of(err)))
		return callout.Grant{}, err
	}
	a := auth(who, c)
	a.Account, a.Grant = g.Account, g.Digest(c.KeyID, who.Roles)
	d.options.Recorder.Granted(audit.Grant{Subject: who.Subject(), Auth: a})
	return g, nil
}

func (d *Decider) grant(who identity.Identity, c claims.Claims) (callout.Grant, error) {
	g, err := callout.NewGrant(who, d.options.Rights, c.Expires)
	if err != nil {
		return callout.Grant{}, err
	}
	if err := d.options.Access.Allowed(who.Subject()); err != nil {
		return callout.Grant{}, err
	}
	return g, d.options.Limiter.Connect(who.Actor())
}

func auth(who identity.Identity, c claims.Claims) eventlog.Auth {
	return eventlog.Auth{Subject: c.Subject, Actor: who.Actor(), Label: who.Label, Roles: who.Roles, KeyID: c.KeyID}
}

// denial is recorded under the identity's own subject only where the identity is
// established: nobody writes into the history of another.
func denial(who identity.Identity, c claims.Claims, e *refusal.Error) audit.Denial {
	if who.Kind == "" {
		return audit.Denial{Subject: eventlog.AuthUnknown, Reason: e.Reason, Message: e.Message}
	}
	return audit.Denial{Subject: who.Subject(), Auth: auth(who, c), Reason: e.Reason, Message: e.Message}
}
