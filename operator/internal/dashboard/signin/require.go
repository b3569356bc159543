package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/logins"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/session"
)

// bearerLife is for how long a token in a header is taken for good without another look: the
// servers end its connection when it ends.
const bearerLife = session.MaxLife

// errNobody says that a request has neither a session nor a token.
var errNobody = errors.New("nobody is signed in")

// errAway says that the operator has no connection to NATS.
var errAway = errors.New("the operator is not connected to NATS")

// Require has each request come from a person (person.Of), and end with the person's connection
// to NATS. A browser without a session is sent to the sign-in; others are told.
func (s *SignIn) Require(next http.Handler, tell Tell) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.credential(r)
		var use logins.Use
		if err == nil {
			use, err = s.logins.Acquire(r.Context(), c)
		}
		if err == nil && use.Person == nil { // a request without a person is taken for one to a dashboard without a sign-in
			err = errors.New("the pool of logins gives nobody")
			use.Release()
		}
		switch {
		case errors.Is(err, errNobody), errors.Is(err, logins.ErrEnded):
			s.nobody(w, r, tell)
			return
		case err != nil:
			n, _ := s.notLetIn(err, c.Name, r.URL.RequestURI())
			if c.Bearer && n.Code == http.StatusForbidden {
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				n.Code = http.StatusUnauthorized
			}
			if n.Code == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "2")
			}
			tell(w, r, n)
			return
		}
		defer use.Release()
		ctx, cancel := context.WithCancelCause(person.With(r.Context(), use.Person))
		defer cancel(nil)
		defer context.AfterFunc(use.Ended, func() { cancel(person.ErrEnded) })()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// nobody answers where nobody is signed in.
func (s *SignIn) nobody(w http.ResponseWriter, r *http.Request, tell Tell) {
	mode := r.Header.Get("Sec-Fetch-Mode")
	page := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasPrefix(r.URL.Path, "/api/") && (mode == "" || mode == "navigate")
	if valueOf(r, SessionCookie) != "" {
		http.SetCookie(w, without(SessionCookie))
	}
	to := localPath(r.URL.RequestURI())
	if page {
		w.Header().Set("Location", signInPath+"?to="+url.QueryEscape(to))
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer`)
	tell(w, r, Notice{http.StatusUnauthorized, "Nobody is signed in", "Nobody is signed in, or the session has ended. A browser signs in by any page; a script sends the header Authorization: Bearer with an access token.", []Link{{"Sign in", signInPath}}})
}

// credential reads by what a request asks to be let in: a bearer's token in the header
// Authorization, or else the session's cookie. A proxy may use the header for itself, by another
// scheme. It fails with errNobody.
func (s *SignIn) credential(r *http.Request) (logins.Credential, error) {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return s.bearer(r.Context(), strings.TrimSpace(token))
	}
	secret := valueOf(r, SessionCookie)
	if !session.WellFormed(secret) {
		return logins.Credential{}, errNobody
	}
	who, err := s.session(r.Context(), secret)
	if errors.Is(err, session.ErrNone) {
		return logins.Credential{}, errNobody
	}
	if err != nil {
		return logins.Credential{}, err
	}
	return logins.Credential{Key: sessionLabel + session.ID(secret), Token: who.Token, Subject: who.Subject, Name: who.Name, Expires: who.Expires}, nil
}

// bearer is by what a token asks to be let in. One that can be none, or is not the provider's,
// costs no login, so that made-up tokens keep nobody out.
func (s *SignIn) bearer(ctx context.Context, token string) (logins.Credential, error) {
	c := logins.Credential{Token: token, Expires: s.o.Now().Add(bearerLife), Bearer: true}
	if err := logins.Check(c); err != nil {
		return c, err
	}
	if err := s.provider.proven(ctx, token); err != nil && !errors.Is(err, errUnproven) {
		return c, err
	}
	sum := sha256.Sum256([]byte(token))
	c.Key = bearerLabel + hex.EncodeToString(sum[:])
	return c, nil
}

// session gives the session of a secret. It fails with session.ErrNone, errAway and
// logins.ErrBusy. Made-up cookies do not make NATS busy: so many at a time are looked
// for, beside those that this replica has a connection of.
func (s *SignIn) session(ctx context.Context, secret string) (session.Session, error) {
	if !s.o.JS.Conn().IsConnected() {
		return session.Session{}, errAway
	}
	if !s.logins.Has(sessionLabel + session.ID(secret)) {
		release, err := take(ctx, s.looks)
		if err != nil {
			return session.Session{}, err
		}
		defer release()
	}
	return s.sessions.Get(ctx, secret)
}

// take waits for a slot for a short time. It fails with logins.ErrBusy.
func take(ctx context.Context, slots limit.Slots) (release func(), err error) {
	release, err = slots.TakeWithin(ctx, slotTime)
	if errors.Is(err, limit.ErrFull) {
		err = logins.ErrBusy
	}
	return release, err
}

// sessionOf gives the session of a connection's key.
func sessionOf(key string) (id string, ok bool) { return strings.CutPrefix(key, sessionLabel) }
