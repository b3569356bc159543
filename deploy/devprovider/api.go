package devprovider

import (
	"net/http"
	"slices"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Generation is how much of Zitadel's management API the provider serves. v1 is
// served by all.
type Generation int

// Generations.
const (
	// Everything serves each method in v2.
	Everything Generation = iota
	// EarlyV2 serves users and organizations in v2, as early v4 servers do.
	EarlyV2
	// OnlyV1 serves no v2 method.
	OnlyV1
)

// SetGeneration says how much of the management API is served. A method that is not
// is a plain 404.
func (p *Provider) SetGeneration(g Generation) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	p.directory.generation = g
}

// audienceOfAPI is the audience that a token for the management API has.
const audienceOfAPI = "zitadel"

// management is Zitadel's management API, as far as enrolment and setup use it.
type management struct {
	*Provider
	library *op.Provider
}

// method does one call. The directory is locked meanwhile.
type method func(*call) (any, *problem)

// register adds each method to the mux: v2 by Connect, those of users and
// organizations by REST too, and v1 by REST.
func (m *management) register(mux *http.ServeMux) {
	for _, methods := range [][]endpoint{m.users(), m.keysOfUsers(), m.metadata(), m.organizations(), m.projects(), m.applications(), m.keysOfApplications(), m.authorizations(), m.administrators()} {
		for _, e := range methods {
			if e.connect != "" {
				mux.HandleFunc("POST /"+e.connect, m.serve(e, true))
			}
			if e.rest != "" {
				mux.HandleFunc(e.rest, m.serve(e, false))
			}
		}
	}
}

// endpoint is where a method is served.
type endpoint struct {
	connect string // service and method, in v2
	rest    string // HTTP method and path
	do      method
}

// in says whether a generation serves an endpoint.
func (e endpoint) in(g Generation) bool {
	switch {
	case e.connect == "" && !strings.Contains(e.rest, " /v2/"):
		return true
	case g == EarlyV2:
		return strings.HasPrefix(e.connect, "zitadel.user.v2.") || strings.HasPrefix(e.connect, "zitadel.org.v2.")
	}
	return g == Everything
}

func (m *management) serve(e endpoint, connect bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d := m.directory
		d.mu.Lock()
		served := e.in(d.generation)
		d.mu.Unlock()
		if !served {
			http.NotFound(w, r)
			return
		}
		c, wrong := m.receive(w, r, connect)
		var out any
		if wrong == nil {
			d.mu.Lock()
			out, wrong = e.do(c)
			d.mu.Unlock()
		}
		if wrong != nil {
			wrong.answer(w, connect)
			return
		}
		answer(w, http.StatusOK, out)
	}
}

// receive authenticates a call and reads its body.
func (m *management) receive(w http.ResponseWriter, r *http.Request, connect bool) (*call, *problem) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || text == "" {
		return nil, unauthenticated("AUTH-8FGHJ", "auth header missing")
	}
	t := m.token(r, text)
	switch {
	case t == nil:
		return nil, unauthenticated("APP-Reb32", "invalid token")
	case !slices.Contains(t.audience, audienceOfAPI):
		return nil, unauthenticated("AUTH-7fs1e", "Errors.Token.Invalid")
	}
	if connect && r.Header.Get("Connect-Protocol-Version") != "1" {
		return nil, &problem{invalidArgument, "CONNECT-1", "missing required header: set Connect-Protocol-Version to \"1\""}
	}
	c := &call{directory: m.directory, caller: t.subject, organization: r.Header.Get("x-zitadel-orgid")}
	m.directory.mu.Lock()
	u, active := m.directory.active(t.subject)
	if active && c.organization == "" {
		c.organization = u.Organization
	}
	m.directory.mu.Unlock()
	if !active {
		return nil, unauthenticated("APP-Reb32", "invalid token")
	}
	return c, c.read(w, r)
}

// token finds an access token that holds, whatever its form.
func (m *management) token(r *http.Request, text string) *token {
	id := ""
	ctx := op.ContextWithIssuer(r.Context(), m.issuer)
	if claims, err := op.VerifyAccessToken[*oidc.AccessTokenClaims](ctx, text, m.library.AccessTokenVerifier(ctx)); err == nil {
		id = claims.JWTID
	} else if plain, err := m.library.Crypto().Decrypt(text); err == nil {
		id, _, _ = strings.Cut(plain, ":")
	}
	m.directory.mu.Lock()
	defer m.directory.mu.Unlock()
	t := m.directory.tokens[tokenIDOf(id)]
	if t == nil || !m.now().Before(t.ends) {
		return nil
	}
	return t
}
