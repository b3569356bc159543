package devprovider

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// code is one run of the device flow (RFC 8628).
type code struct {
	user     string // the code that a person types
	client   string
	scopes   []string
	ends     time.Time
	asked    time.Time // the last poll
	interval time.Duration
	subject  string // who approved
	approved time.Time
	denied   bool
}

// StoreDeviceAuthorization implements op.DeviceAuthorizationStorage.
func (s *storage) StoreDeviceAuthorization(_ context.Context, clientID, deviceCode, userCode string, ends time.Time, scopes []string) error {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, c := range d.codes {
		switch {
		case time.Since(c.ends) > s.options.CodeLifetime:
			delete(d.codes, key)
		case c.user == userCode:
			return op.ErrDuplicateUserCode
		}
	}
	d.codes[deviceCode] = &code{user: userCode, client: clientID, scopes: knownScopes(scopes), ends: ends, interval: s.options.PollInterval}
	return nil
}

// GetDeviceAuthorizatonState implements op.DeviceAuthorizationStorage; the name is
// the library's.
func (s *storage) GetDeviceAuthorizatonState(_ context.Context, clientID, deviceCode string) (*op.DeviceAuthorizationState, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.codes[deviceCode]
	if c == nil || c.client != clientID {
		return nil, fmt.Errorf("device code: %w", ErrNotFound)
	}
	now := time.Now()
	early := !c.asked.IsZero() && now.Sub(c.asked) < c.interval*9/10 // what a network may shorten is not early
	if c.asked = now; early {
		c.interval += 5 * time.Second
		return nil, context.DeadlineExceeded // the library says slow_down
	}
	state := &op.DeviceAuthorizationState{
		ClientID: clientID, Scopes: c.scopes, Expires: c.ends, Denied: c.denied, Done: c.subject != "", Subject: c.subject, AuthTime: c.approved, AMR: []string{"dev"},
	}
	if state.Done {
		project := d.applications[clientID].Project
		if state.Audience = audience(c.scopes); !slices.Contains(state.Audience, project) {
			state.Audience = append(state.Audience, project)
		}
		delete(d.codes, deviceCode)
	}
	return state, nil
}

// Approve lets a person approve the code that is shown to them.
func (p *Provider) Approve(userCode, userID string) error {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.active(userID)
	if !ok || u.Machine {
		return fmt.Errorf("person %s: %w", userID, ErrNotFound)
	}
	return d.decide(userCode, func(c *code) { c.subject, c.approved = userID, time.Now() })
}

// Deny lets a person refuse the code that is shown to them.
func (p *Provider) Deny(userCode string) error {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	return p.directory.decide(userCode, func(c *code) { c.denied = true })
}

// decide finds the code that waits. mu is held.
func (d *directory) decide(userCode string, f func(*code)) error {
	plain := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "")) }
	for _, c := range d.codes {
		if plain(c.user) == plain(userCode) && time.Now().Before(c.ends) && c.subject == "" && !c.denied {
			f(c)
			return nil
		}
	}
	return fmt.Errorf("code %.20q: %w", userCode, ErrNotFound)
}

// devicePage is where a person types the code. It asks for no password.
type devicePage struct{ *Provider }

var page = template.Must(template.New("device").Parse(`<!doctype html><meta charset="utf-8"><title>Development provider</title>
<p><strong>{{.Warning}}</strong></p>{{with .Said}}<p>{{.}}</p>{{end}}
<form method="post"><p><label>Code <input name="user_code" value="{{.Code}}"></label></p>
<p><label>Who you are <select name="user">{{range .People}}<option value="{{.ID}}">{{.Username}}</option>{{end}}</select></label></p>
<p><button name="do" value="approve">Approve</button> <button name="do" value="deny">Deny</button></p></form>
`))

// ServeHTTP implements http.Handler.
func (p devicePage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := ""
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		do := func() error { return p.Deny(r.PostFormValue("user_code")) }
		said = "You denied access."
		if r.PostFormValue("do") == "approve" {
			do = func() error { return p.Approve(r.PostFormValue("user_code"), r.PostFormValue("user")) }
			said = "You approved. Go back to your terminal."
		}
		if err := do(); err != nil {
			said = "This did not work: " + err.Error() + "."
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
	_ = page.Execute(w, map[string]any{"Warning": Warning, "Said": said, "Code": r.FormValue("user_code"), "People": p.people()}) // who asked is gone
}

// Codes are the user codes that wait for a person's decision.
func (p *Provider) Codes() []string {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, c := range d.codes {
		if time.Now().Before(c.ends) && c.subject == "" && !c.denied {
			all = append(all, c.user)
		}
	}
	return all
}

// people are those who can sign in, by their names.
func (p *Provider) people() (all []User) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	for _, u := range p.directory.users {
		if !u.Machine {
			all = append(all, u.User)
		}
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.Username, b.Username) })
	return all
}
