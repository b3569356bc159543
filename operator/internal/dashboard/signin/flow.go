package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"fleet.nationtech.io/operator/internal/dashboard/logins"
	"fleet.nationtech.io/operator/internal/dashboard/session"
)

// Handler serves what is below Prefix.
func (s *SignIn) Handler(tell Tell) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+signInPath, func(w http.ResponseWriter, r *http.Request) { s.begin(w, r, tell) })
	mux.HandleFunc("GET "+callbackPath, func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, tell) })
	mux.HandleFunc("POST "+SignOutPath, func(w http.ResponseWriter, r *http.Request) { s.signOut(w, r, tell) })
	mux.HandleFunc("GET "+signedOutPath, func(w http.ResponseWriter, r *http.Request) {
		tell(w, r, Notice{http.StatusOK, "Signed out", "You are signed out of the dashboard. The identity provider may still remember you: sign out there too where others use this browser.", []Link{{"Sign in", signInPath}}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		tell(w, r, Notice{Code: http.StatusNotFound, Title: "Not found", Text: "There is no such page."})
	})
	return mux
}

// begin sends a browser to the provider.
func (s *SignIn) begin(w http.ResponseWriter, r *http.Request, tell Tell) {
	q := r.URL.Query()
	a := newAttempt(q.Get("to"), s.o.Now())
	address, err := s.provider.begin(r.Context(), a, q.Has("choose"))
	if err != nil {
		tell(w, r, Notice{http.StatusServiceUnavailable, "The identity provider does not answer", "The identity provider " + s.config.Issuer + " does not answer as it should, so nobody can sign in now. The operator's own log says why.", again(a.To)})
		return
	}
	http.SetCookie(w, cookie(attemptCookie, a.text(), attemptLife))
	// A page that goes on by itself, and no redirect: a browser that came here by a form would hold
	// a redirect to the provider against form-action of the Content-Security-Policy.
	w.Header().Set("Refresh", "0; url="+address)
	w.Header().Set("Cache-Control", "private, no-store")
	tell(w, r, Notice{http.StatusOK, "Sign in", "The identity provider signs you in. Your browser goes there by itself.", []Link{{"Go to the identity provider", address}}})
}

// complete takes the provider's answer, which the browser brings.
func (s *SignIn) complete(w http.ResponseWriter, r *http.Request, tell Tell) {
	http.SetCookie(w, without(attemptCookie)) // it is good for one answer
	to, secret, life, failed := s.answer(r)
	if failed != nil {
		s.metrics.signIns.WithLabelValues(failed.result).Inc()
		level := slog.LevelInfo
		if failed.result == resultMismatch { // anybody can have as many as they like
			level = slog.LevelDebug
		}
		s.o.Logger.Log(r.Context(), level, "a person was not signed in to the dashboard", "result", failed.result, "reason", failed.cause)
		tell(w, r, failed.Notice)
		return
	}
	s.metrics.signIns.WithLabelValues(resultDone).Inc()
	if old := valueOf(r, SessionCookie); session.WellFormed(old) { // the person who had it may be another one than has signed in
		if _, err := s.end(r.Context(), old); err != nil {
			s.o.Logger.Warn("cannot end the session that a browser had before its sign-in", "error", err)
		}
	}
	http.SetCookie(w, cookie(SessionCookie, secret, life))
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// signOut ends a session.
func (s *SignIn) signOut(w http.ResponseWriter, r *http.Request, tell Tell) {
	if secret := valueOf(r, SessionCookie); session.WellFormed(secret) {
		was, err := s.end(r.Context(), secret)
		if err != nil {
			s.o.Logger.Warn("cannot end a session of the dashboard", "error", err)
			tell(w, r, Notice{http.StatusServiceUnavailable, "Not signed out", "NATS does not answer, so the session is not ended yet. Try again.", []Link{{"Back", "/"}}})
			return
		}
		if was {
			s.metrics.signOuts.Inc()
		}
	}
	http.SetCookie(w, without(SessionCookie))
	w.Header().Set("Clear-Site-Data", `"cache"`) // pages that the browser could go back to
	w.Header().Set("Location", signedOutPath)
	w.WriteHeader(http.StatusSeeOther)
}

// end ends a session: first for all replicas, and then what this one has of it. It says whether
// there was one: a cookie that is made up has nothing written.
func (s *SignIn) end(ctx context.Context, secret string) (was bool, err error) {
	id := session.ID(secret)
	_, err = s.session(ctx, secret)
	if err == nil {
		was, err = true, s.sessions.Delete(ctx, id)
	}
	if errors.Is(err, session.ErrNone) {
		err = nil
	}
	s.logins.End(sessionLabel + id)
	return was, err
}

// refusal is why a sign-in failed.
type refusal struct {
	Notice
	result string
	cause  error // for the log
}

// answer makes a session of the provider's answer.
func (s *SignIn) answer(r *http.Request) (to, secret string, life time.Duration, failed *refusal) {
	q := r.URL.Query()
	a, ok := readAttempt(valueOf(r, attemptCookie), s.o.Now())
	state := q.Get("state")
	if !ok || len(state) > maxState || subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) != 1 {
		return "", "", 0, &refusal{Notice{http.StatusBadRequest, "Not signed in", "This answer of the identity provider belongs to no sign-in that this browser has begun in the last ten minutes. Another tab may have begun one since.", again(a.To)}, resultMismatch, errors.New("the state is not that of the browser's attempt")}
	}
	if err := s.fromProvider(r.Context(), q); err != nil {
		return "", "", 0, s.notSignedIn(http.StatusForbidden, err, a.To)
	}
	who, err := s.tokens(r.Context(), a, q.Get("code"))
	if errors.Is(err, logins.ErrBusy) {
		n, result := s.notLetIn(err, "", a.To)
		return "", "", 0, &refusal{n, result, err}
	}
	if err != nil {
		return "", "", 0, s.notSignedIn(http.StatusBadGateway, err, a.To)
	}
	secret = session.NewSecret()
	id := session.ID(secret)
	use, err := s.logins.Acquire(r.Context(), logins.Credential{Key: sessionLabel + id, Token: who.Token, Subject: who.Subject, Name: who.Name, Expires: who.Expires, Unstored: true})
	if err != nil {
		n, result := s.notLetIn(err, who.Name, a.To)
		return "", "", 0, &refusal{n, result, fmt.Errorf("%s: %w", who.Subject, err)}
	}
	defer use.Release()
	if err := s.sessions.Put(r.Context(), secret, who); err != nil {
		s.logins.End(sessionLabel + id)
		return "", "", 0, &refusal{Notice{http.StatusServiceUnavailable, "Not signed in", "NATS cannot keep the session now. Try again.", again(a.To)}, resultFailed, err}
	}
	s.logins.Stored(sessionLabel + id)
	s.o.Logger.Info("a person signed in to the dashboard", "actor", use.Person.Actor, "until", who.Expires)
	return a.To, secret, who.Expires.Sub(s.o.Now()), nil
}

// tokens gets the tokens for a code. Anybody can bring codes, so the provider is asked about so
// many at a time and in a second; logins.ErrBusy says that these are too many.
func (s *SignIn) tokens(ctx context.Context, a attempt, code string) (session.Session, error) {
	if !s.callbacks.AllowN(s.o.Now(), 1) {
		return session.Session{}, logins.ErrBusy
	}
	release, err := take(ctx, s.slots)
	if err != nil {
		return session.Session{}, err
	}
	defer release()
	return s.provider.complete(ctx, a, code)
}

// fromProvider checks what came along with a code.
func (s *SignIn) fromProvider(ctx context.Context, q url.Values) error {
	found, err := s.provider.find(ctx)
	if err != nil {
		return err
	}
	if !s.provider.iss(found, q.Get("iss"), q.Has("iss")) {
		return verdict("the answer comes from another identity provider than the one that was asked")
	}
	if code := q.Get("error"); code != "" {
		text := "the identity provider says " + bound(code, maxReason)
		if more := bound(q.Get("error_description"), maxReason); more != "" {
			text += ": " + more
		}
		return verdict(text)
	}
	if code := q.Get("code"); code == "" || len(code) > maxCode {
		return verdict("the identity provider's answer has no code")
	}
	return nil
}

// notSignedIn tells a person the provider's verdict, and of anything else only that it went wrong.
func (s *SignIn) notSignedIn(code int, err error, to string) *refusal {
	var v verdict
	if !errors.As(err, &v) {
		return &refusal{Notice{http.StatusServiceUnavailable, "Not signed in", "You are not signed in: the identity provider " + s.config.Issuer + " does not answer as it should. Try again. The operator's own log says why.", again(to)}, resultProvider, err}
	}
	return &refusal{Notice{code, "Not signed in", "You are not signed in: " + strings.TrimSuffix(string(v), ".") + ".", again(to)}, resultProvider, err}
}

// notLetIn says why NATS does not let a person in, as far as that can be known.
func (s *SignIn) notLetIn(err error, name, to string) (Notice, string) {
	links := append(again(to), Link{"Sign in as another person", signInPath + "?choose"})
	switch {
	case errors.Is(err, logins.ErrRefused):
		text := "The fleet does not let you in. You need a role in the fleet's project: viewer, operator or admin. Ask those who manage the identity provider to grant you one. " +
			"If you had access until now, it may be revoked, or NATS may be busy: try again. The newest event auth.denied of yours in the fleet's log has the reason."
		if name != "" {
			text = "You signed in as " + name + ". " + text
		}
		return Notice{http.StatusForbidden, "You are not let in", text, links}, resultRefused
	case errors.Is(err, logins.ErrUnusable), errors.Is(err, errForged):
		return Notice{http.StatusForbidden, "You are not let in", "Your access token was not used: " + err.Error() + ". Ask those who manage the identity provider about the dashboard's application and your roles there.", links}, resultRefused
	case errors.Is(err, logins.ErrEnded):
		return Notice{http.StatusUnauthorized, "The session has ended", "The token's time is over. Sign in again.", []Link{{"Sign in", signInPath}}}, resultFailed
	case errors.Is(err, logins.ErrBusy):
		return Notice{http.StatusServiceUnavailable, "Busy", "The dashboard has too many logins at this moment. Try again in some seconds.", links}, resultFailed
	}
	return Notice{http.StatusServiceUnavailable, "NATS does not answer", "You cannot be logged in to NATS now: it does not answer. Try again in some seconds.", links}, resultFailed
}

// again leads to a page, and so to another sign-in where nobody is signed in.
func again(to string) []Link { return []Link{{"Try again", localPath(to)}} }

// bound makes one short line of a text that others wrote.
func bound(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	text = strings.TrimSpace(text)
	if all := []rune(text); len(all) > limit {
		return string(all[:limit]) + "…"
	}
	return text
}
