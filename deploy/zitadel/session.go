package zitadel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/deviceflow"
)

// Scopes are those of a token for the management API.
func Scopes() []string {
	return []string{"openid", "profile", "urn:zitadel:iam:org:project:id:zitadel:aud", "urn:zitadel:iam:user:resourceowner"}
}

// ErrSession says that a sign-in ended, and that a person has to sign in again.
var ErrSession = errors.New("the sign-in at the provider ended: sign in again")

// SignInOptions say who signs in. One of ClientID, KeyFile and TokenFile is needed.
type SignInOptions struct {
	Issuer string // byte for byte
	CAFile string // PEM, trusted beside the system's CAs; may be empty
	// ClientID is the application by which a person signs in: type Native, with the
	// grant type Device code.
	ClientID string
	// KeyFile is the key of a service account.
	KeyFile string
	// TokenFile holds a personal access token.
	TokenFile string
	// Prompt shows the page and the code to the person.
	Prompt func(deviceflow.Prompt)
	Now    func() time.Time // nil: the machine's clock
	// Sleep waits, or until the context ends; nil: by the machine's clock.
	Sleep func(context.Context, time.Duration) error
}

// Session is a token for the management API. It is kept in memory alone. A Session
// may be used from several goroutines.
type Session struct {
	provider *openid.Provider
	key      *openid.Key // nil: the token cannot be renewed
	now      func() time.Time

	mu      sync.Mutex
	token   string
	renewAt time.Time
	expires time.Time // zero: it is not known
}

var _ Tokens = (*Session)(nil)

// SignIn gets a token: by a person, for whom it waits; by a service account's key; or
// from a file.
func SignIn(ctx context.Context, o SignInOptions) (*Session, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Session{now: o.Now}
	given := 0
	for _, one := range []string{o.ClientID, o.KeyFile, o.TokenFile} {
		if one != "" {
			given++
		}
	}
	if given != 1 || o.ClientID != "" && o.Prompt == nil {
		return nil, errors.New("sign in at the provider by one thing: the client id of an application (a person), a key file (a service account), or a token file")
	}
	if o.TokenFile != "" {
		text, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		if s.token = strings.TrimSpace(string(text)); s.token == "" {
			return nil, fmt.Errorf("token file %s is empty: put a personal access token into it", o.TokenFile)
		}
		return s, nil
	}
	clock := &trust.Clock{}
	servers, err := trust.Beside(clock, o.CAFile)
	if err != nil {
		return nil, err
	}
	s.provider = openid.New(openid.Options{Issuer: o.Issuer, Clock: clock, Servers: servers})
	if o.KeyFile != "" {
		if s.key, err = openid.ReadKey(o.KeyFile); err != nil {
			return nil, err
		}
		_, err := s.Token(ctx)
		return s, err
	}
	return s, s.approve(ctx, o)
}

// approve waits until a person has approved the sign-in.
func (s *Session) approve(ctx context.Context, o SignInOptions) error {
	f := deviceflow.Flow{Provider: s.provider, ClientID: o.ClientID, Scopes: Scopes(), Now: o.Now, Sleep: o.Sleep}
	p, err := f.Begin(ctx)
	if err != nil {
		return fmt.Errorf("sign in at the provider: %w", err)
	}
	o.Prompt(p)
	g, err := f.Await(ctx, p)
	if err != nil {
		return fmt.Errorf("sign in at the provider: %w", err)
	}
	s.hold(g)
	return nil
}

func (s *Session) hold(g openid.Grant) {
	const margin = time.Minute
	now := s.now()
	s.token, s.expires = g.Token, now.Add(g.Life)
	s.renewAt = s.expires.Add(-min(margin, g.Life/5))
}

// Token implements Tokens.
func (s *Session) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case s.token != "" && (s.expires.IsZero() || now.Before(s.renewAt)), s.token != "" && s.key == nil && now.Before(s.expires):
		return s.token, nil
	case s.key == nil:
		return "", ErrSession
	}
	g, err := s.provider.ByKey(ctx, s.key, Scopes())
	var no *openid.Refusal
	switch {
	case errors.As(err, &no) && no.Code == "invalid_grant":
		return "", fmt.Errorf("the provider does not take the key %s of %s: it expired or was removed, it was made a moment ago and is not shown yet, or its user is not active; give another key file, or try again in some seconds: %w", s.key.ID, s.key.UserID, err)
	case err != nil:
		return "", fmt.Errorf("sign in at the provider by key %s: %w", s.key.ID, err)
	}
	s.hold(g)
	return s.token, nil
}

// Refused implements Tokens.
func (s *Session) Refused(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		return false
	}
	if s.token == token {
		s.token = ""
	}
	return true
}

// Key names the key by which the session signed in; empty where it was no key.
func (s *Session) Key() (userID, keyID string) {
	if s.key == nil {
		return "", ""
	}
	return s.key.UserID, s.key.ID
}

// RemoveKey takes the key by which a session signed in from its user, so that nobody
// gets a token by it any more. The session's own token holds until it ends.
func (s *Session) RemoveKey(ctx context.Context, c *Client) error {
	userID, keyID := s.Key()
	if keyID == "" {
		return errors.New("there is no key to remove: the sign-in was by none")
	}
	return c.In("").RemoveKey(ctx, userID, keyID) // in the user's own organization
}

// Expires is when the token ends; zero where that is not known.
func (s *Session) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expires
}
