package signin

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/oauth2"
)

const (
	attemptLife = 10 * time.Minute
	maxReturn   = 1024 // bytes of a return path
	maxAttempt  = 4096 // bytes of the cookie
)

// attempt is a sign-in that has begun. The browser keeps it: the browser that brings the
// provider's answer must have begun the sign-in.
type attempt struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // of PKCE (RFC 7636)
	To       string    `json:"t"` // where the person wanted to go
	Ends     time.Time `json:"e"`
}

func newAttempt(to string, now time.Time) attempt {
	return attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: localPath(to), Ends: now.Add(attemptLife)}
}

// text is the attempt as a cookie's value.
func (a attempt) text() string {
	b, _ := json.Marshal(a) // strings and a time can be marshaled
	return base64.RawURLEncoding.EncodeToString(b)
}

// readAttempt reads a cookie's value; ok is false where it is none, or too old.
func readAttempt(text string, now time.Time) (a attempt, ok bool) {
	if len(text) > maxAttempt {
		return attempt{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &a) != nil {
		return attempt{}, false
	}
	a.To = localPath(a.To) // whatever else may have set the cookie, as another server on the loopback
	return a, a.State != "" && a.Nonce != "" && a.Verifier != "" && now.Before(a.Ends)
}

// localPath gives a path of this server, with its query, for a redirect after the sign-in; "/"
// for what is none. Browsers take //host and /\host for other servers.
func localPath(to string) string {
	const home = "/"
	if len(to) > maxReturn || !utf8.ValidString(to) || !strings.HasPrefix(to, "/") || strings.ContainsFunc(to, unsafeInPath) {
		return home
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" {
		return home
	}
	if !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsFunc(u.Path, unsafeInPath) || strings.HasPrefix(u.Path, Prefix) {
		return home
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

func unsafeInPath(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }
