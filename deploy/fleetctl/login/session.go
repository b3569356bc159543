package login

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/deviceflow"
)

const (
	grantRefresh = "refresh_token"

	renewTimeout = 30 * time.Second
	// hasty is a caller that waits for less: it is served from the cache alone, as to
	// break off a renewal may burn the refresh token.
	hasty      = 5 * time.Second
	firstRetry = time.Second
	maxRetry   = 30 * time.Second
	// lookInterval is how often the wall clock is looked at: timers stand still while a
	// machine sleeps.
	lookInterval = 30 * time.Second
)

// Options wire a Session.
type Options struct {
	Account Account
	Dir     string // of the cached tokens
	Now     func() time.Time
}

// Session has a token at hand, and the next one before that ends.
//
// Guarantee: no two sessions use one refresh token, in whatever processes they are.
type Session struct {
	account  Account
	cache    cache
	provider *openid.Provider
	key      *openid.Key // of a service
	now      func() time.Time

	renewing sync.Mutex // the provider is for one goroutine

	mu     sync.Mutex
	tokens Tokens
}

// New wires a Session. It reads the CA file and the key file, and asks nobody.
func New(o Options) (*Session, error) {
	clock := &trust.Clock{}
	servers, err := trust.Beside(clock, o.Account.CAFile)
	if err != nil {
		return nil, err
	}
	wall := func() time.Time { return o.Now().Round(0) } // tokens end by it, over a sleep of the machine too
	s := &Session{account: o.Account, now: wall, provider: openid.New(openid.Options{Issuer: o.Account.Issuer, Clock: clock, Servers: servers})}
	bearer := "person by " + o.Account.ClientID + " in context " + o.Account.Context
	if o.Account.KeyFile != "" {
		if s.key, err = openid.ReadKey(o.Account.KeyFile); err != nil {
			return nil, err
		}
		bearer = "key " + s.key.ID + " of " + s.key.UserID
	}
	s.cache = newCache(o.Dir, o.Account, bearer)
	return s, nil
}

// Begin begins a person's login. Complete ends it, and both are for one session.
func (s *Session) Begin(ctx context.Context) (deviceflow.Prompt, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	return s.flow().Begin(ctx)
}

// Complete waits until the person has approved the login, and caches its tokens.
func (s *Session) Complete(ctx context.Context, p deviceflow.Prompt) (Tokens, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	g, err := s.flow().Await(ctx, p)
	if err != nil {
		return Tokens{}, err
	}
	t := s.granted(g, Tokens{})
	t.Name = s.nameOf(ctx, t)
	unlock, err := s.cache.lock(ctx)
	if err != nil {
		return Tokens{}, err
	}
	defer unlock()
	return t, s.keep(t)
}

func (s *Session) flow() deviceflow.Flow {
	return deviceflow.Flow{
		Provider: s.provider, ClientID: s.account.ClientID, Now: s.now,
		Scopes: openid.Scopes(s.account.Project, "profile", "offline_access"),
	}
}

// nameOf asks who the bearer is, for people. Without an answer it is nobody's name.
func (s *Session) nameOf(ctx context.Context, t Tokens) string {
	e, err := s.provider.Discover(ctx)
	if err != nil || e.Userinfo == "" {
		return ""
	}
	var who struct {
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
	}
	if err := s.provider.Get(ctx, e.Userinfo, t.Access, &who); err != nil {
		return ""
	}
	if who.Name == "" {
		return who.Username
	}
	return who.Name
}

// Ready makes sure that there is a token, which is not about to end: the cached one,
// or the next one, which this asks for. While the provider is away the cached one is
// good until it ends. A caller that waits for less than 5 s gets the cached one or an
// error. It fails with ErrLoggedOut and ErrEnded.
func (s *Session) Ready(ctx context.Context) error {
	t, err := s.cache.read()
	switch deadline, ok := ctx.Deadline(); {
	case ok && time.Until(deadline) < hasty:
		if err == nil && !t.holds(s.now()) {
			err = errNoTime
		}
		if err == nil {
			s.hold(t)
		}
		return err
	case err == nil && t.fresh(s.now()):
		s.hold(t)
		return nil
	case errors.Is(err, ErrLoggedOut) && s.key != nil:
	case err != nil:
		return fmt.Errorf("%w at %s", err, s.account.Issuer)
	}
	err = s.renew(ctx)
	if err != nil && t.holds(s.now()) && !errors.Is(ctx.Err(), context.Canceled) {
		s.hold(t)
		return nil
	}
	return err
}

// errNoTime says that there is no time for a renewal.
var errNoTime = errors.New("the cached token has ended, and there is no time to renew it")

// renew asks for the next token, unless another process did so meanwhile. Once it has
// the lock the caller's end does not break it off: the provider may have ended the old
// refresh token by then.
func (s *Session) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	s.renewing.Lock()
	defer s.renewing.Unlock()
	unlock, err := s.cache.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	t, err := s.cache.read()
	if mine := s.Tokens(); err == nil && mine.Issued.After(t.Issued) { // they could not be written then
		t = mine
		if err := s.cache.write(t); err != nil && !t.fresh(s.now()) {
			return err
		}
	}
	switch {
	case err == nil && t.fresh(s.now()):
		s.hold(t)
		return nil
	case err != nil && (s.key == nil || !errors.Is(err, ErrLoggedOut)):
		return err
	}
	g, err := s.next(ctx, t)
	if err != nil {
		return err
	}
	return s.keep(s.granted(g, t))
}

// next asks the provider for the next token.
func (s *Session) next(ctx context.Context, t Tokens) (openid.Grant, error) {
	var g openid.Grant
	var err error
	switch {
	case s.key != nil:
		g, err = s.provider.ByKey(ctx, s.key, openid.Scopes(s.account.Project))
	case t.Refresh == "":
		return g, fmt.Errorf("%w: the provider gave no refresh token (the application needs that grant type)", ErrEnded)
	default:
		g, err = s.provider.Grant(ctx, url.Values{"grant_type": {grantRefresh}, "refresh_token": {t.Refresh}, "client_id": {s.account.ClientID}})
	}
	var no *openid.Refusal
	if errors.As(err, &no) && no.Code == "invalid_grant" {
		return g, fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return g, err
}

// granted makes tokens of an answer. What it does not say stays as it was.
func (s *Session) granted(g openid.Grant, was Tokens) Tokens {
	now := s.now()
	t := Tokens{
		Issuer: s.account.Issuer, Project: s.account.Project, Access: g.Token, Refresh: g.Refresh,
		Issued: now, Expires: now.Add(g.Life), Name: was.Name,
	}
	if t.Refresh == "" {
		t.Refresh = was.Refresh // a provider that does not rotate
	}
	return t
}

func (s *Session) keep(t Tokens) error {
	s.hold(t)
	return s.cache.write(t)
}

func (s *Session) hold(t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = t
}

// Tokens gives those that are at hand.
func (s *Session) Tokens() Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// Show gives the token at once: the NATS client asks for it while the server's
// authorization timeout runs.
func (s *Session) Show() string { return s.Tokens().Access }

// Actors are the users that the token may make on NATS, the likeliest first.
func (s *Session) Actors() []string { return s.Tokens().Actors() }

// WhyRefused looks in the token for reasons why NATS would not take it.
func (s *Session) WhyRefused() []string { return s.Tokens().WhyRefused(s.now()) }

// Keep has the next token at hand before one ends, until the context ends. It reports
// each new reason why there is none, and tries on: another fleetctl may log in.
func (s *Session) Keep(ctx context.Context, report func(error)) {
	retry, told := firstRetry, ""
	for {
		if wait := s.Tokens().renewAt().Sub(s.now()); wait > 0 {
			if deviceflow.Sleep(ctx, min(wait, lookInterval)) != nil {
				return
			}
			continue
		}
		err := s.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			retry, told = firstRetry, ""
			continue
		case err.Error() != told:
			told = err.Error()
			report(err)
		}
		if deviceflow.Sleep(ctx, retry) != nil {
			return
		}
		retry = min(2*retry, maxRetry)
	}
}
