package devprovider

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	authorizePath = "/oauth/v2/authorize"
	loginPath     = "/ui/login/login"

	// loginTime is how long a person may take at the page.
	loginTime = 10 * time.Minute
)

// signIn is one run of the authorization code flow, until its code is used.
type signIn struct {
	oidc.AuthRequest
	id       string
	audience []string
	subject  string // who signed in; empty: nobody yet
	at       time.Time
	code     string
	ends     time.Time // of the page, and then of the code
}

var _ op.AuthRequest = (*signIn)(nil)

// GetID implements op.AuthRequest.
func (s *signIn) GetID() string { return s.id }

// GetACR implements op.AuthRequest.
func (s *signIn) GetACR() string { return "" }

// GetAMR implements op.AuthRequest.
func (s *signIn) GetAMR() []string { return []string{"dev"} }

// GetAudience implements op.AuthRequest.
func (s *signIn) GetAudience() []string { return s.audience }

// GetAuthTime implements op.AuthRequest.
func (s *signIn) GetAuthTime() time.Time { return s.at }

// GetClientID implements op.AuthRequest.
func (s *signIn) GetClientID() string { return s.ClientID }

// GetCodeChallenge implements op.AuthRequest.
func (s *signIn) GetCodeChallenge() *oidc.CodeChallenge {
	if s.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: s.CodeChallenge, Method: cmp.Or(s.CodeChallengeMethod, oidc.CodeChallengeMethodPlain)}
}

// GetNonce implements op.AuthRequest.
func (s *signIn) GetNonce() string { return s.Nonce }

// GetRedirectURI implements op.AuthRequest.
func (s *signIn) GetRedirectURI() string { return s.RedirectURI }

// GetResponseType implements op.AuthRequest.
func (s *signIn) GetResponseType() oidc.ResponseType { return s.ResponseType }

// GetResponseMode implements op.AuthRequest.
func (s *signIn) GetResponseMode() oidc.ResponseMode { return s.ResponseMode }

// GetScopes implements op.AuthRequest.
func (s *signIn) GetScopes() []string { return s.Scopes }

// GetState implements op.AuthRequest.
func (s *signIn) GetState() string { return s.State }

// GetSubject implements op.AuthRequest.
func (s *signIn) GetSubject() string { return s.subject }

// Done implements op.AuthRequest.
func (s *signIn) Done() bool { return s.subject != "" }

// CreateAuthRequest implements op.AuthStorage.
func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for id, old := range d.signIns {
		if now.After(old.ends) {
			delete(d.signIns, id)
		}
	}
	in := &signIn{AuthRequest: *r, id: d.id(), ends: now.Add(loginTime)}
	in.Scopes = knownScopes(r.Scopes)
	in.audience = audience(in.Scopes)
	if project := d.applications[r.ClientID].Project; !slices.Contains(in.audience, project) {
		in.audience = append(in.audience, project)
	}
	d.signIns[in.id] = in
	return in, nil
}

// AuthRequestByID implements op.AuthStorage.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	return s.directory.signIn(func(in *signIn) bool { return in.id == id })
}

// AuthRequestByCode implements op.AuthStorage.
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	return s.directory.signIn(func(in *signIn) bool { return in.code != "" && in.code == code })
}

func (d *directory) signIn(is func(*signIn) bool) (op.AuthRequest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, in := range d.signIns {
		if is(in) && time.Now().Before(in.ends) {
			found := *in
			return &found, nil
		}
	}
	return nil, fmt.Errorf("sign-in: %w", ErrNotFound)
}

// SaveAuthCode implements op.AuthStorage.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	return s.directory.changeSignIn(id, func(in *signIn) { in.code, in.ends = code, time.Now().Add(s.options.CodeLifetime) })
}

// DeleteAuthRequest implements op.AuthStorage: a code is used once.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	delete(s.directory.signIns, id)
	return nil
}

func (d *directory) changeSignIn(id string, f func(*signIn)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.signIns[id]
	if in == nil || time.Now().After(in.ends) {
		return fmt.Errorf("sign-in: %w", ErrNotFound)
	}
	f(in)
	return nil
}

// loginPage is where a browser's person says who it is. It asks for no password.
type loginPage struct{ *Provider }

var loginText = template.Must(template.New("login").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Development provider</title>
<p><strong>{{.Warning}}</strong></p>{{with .Said}}<p>{{.}}</p>{{end}}
<form method="post"><input type="hidden" name="id" value="{{.ID}}"><p>Sign in as</p>
{{range .People}}<p><button name="user" value="{{.ID}}">{{.Username}}{{with .Name}}, {{.}}{{end}}</button></p>{{end}}</form></html>
`))

// ServeHTTP implements http.Handler.
func (p loginPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, said := r.URL.Query().Get("authRequestID"), ""
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		id = r.PostFormValue("id")
		err := p.SignIn(id, r.PostFormValue("user"))
		if err == nil {
			w.Header().Set("Location", authorizePath+"/callback?id="+url.QueryEscape(id))
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		said = "This did not work: " + err.Error() + "."
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	_ = loginText.Execute(w, map[string]any{"Warning": Warning, "Said": said, "ID": id, "People": p.people()}) // who asked is gone
}

// SignIn lets a person sign in who was sent to the provider by an application.
func (p *Provider) SignIn(id, userID string) error {
	p.directory.mu.Lock()
	u, ok := p.directory.active(userID)
	p.directory.mu.Unlock()
	if !ok || u.Machine {
		return fmt.Errorf("person %.80s: %w", userID, ErrNotFound)
	}
	return p.directory.changeSignIn(id, func(in *signIn) { in.subject, in.at = userID, time.Now() })
}
