package devprovider

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	grantJWTBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"
)

// grant is the token endpoint. The grant of RFC 7523 is ours, as the library's
// audience, client_id and id token are not Zitadel's; the rest is the library's.
type grant struct {
	*Provider
	library *op.Provider
	storage *storage
}

// ServeHTTP implements http.Handler.
func (g *grant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_request", "the form cannot be read")
		return
	}
	if r.PostForm.Get("grant_type") != grantJWTBearer {
		g.library.ServeHTTP(w, r)
		return
	}
	verifier := op.NewJWTProfileVerifier(g.storage, g.issuer, maxAssertionAge, assertionTolerance)
	assertion, err := op.VerifyJWTAssertion(r.Context(), r.PostForm.Get("assertion"), verifier)
	switch {
	case errors.Is(err, errKey), errors.Is(err, oidc.ErrSignatureInvalid):
		refuse(w, "invalid_grant", err.Error())
		return
	case err != nil:
		refuse(w, "invalid_request", err.Error())
		return
	}
	scopes := knownScopes(strings.Fields(r.PostForm.Get("scope")))
	if !slices.Contains(scopes, oidc.ScopeOpenID) {
		refuse(w, "invalid_scope", "scope openid is missing")
		return
	}
	g.grantTo(w, assertion.Subject, scopes)
}

func (g *grant) grantTo(w http.ResponseWriter, subject string, scopes []string) {
	now := time.Now().Truncate(time.Second)
	d := g.directory
	d.mu.Lock()
	u, ok := d.active(subject)
	if !ok {
		d.mu.Unlock()
		refuse(w, "invalid_grant", "the user is unknown, or it is not active")
		return
	}
	t := &token{
		id: d.id(), subject: subject, audience: audience(scopes), scopes: scopes, client: u.Username,
		issued: now, ends: now.Add(g.options.TokenLifetime),
	}
	d.tokens[t.id] = t
	claims := d.claims(u, scopes, t.audience, "")
	kind := u.TokenType
	d.mu.Unlock()

	maps.Copy(claims, map[string]any{
		"iss": g.issuer, "sub": subject, "aud": t.audience, "client_id": t.client, "jti": "V2_1-at_" + t.id,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": t.ends.Unix(),
	})
	signed, err := g.sign(claims)
	if err == nil && kind == Opaque {
		signed, err = op.CreateBearerToken(t.id, subject, g.library.Crypto())
	}
	if err != nil {
		answer(w, http.StatusInternalServerError, oidc.ErrServerError().WithDescription("%v", err))
		return
	}
	// Zitadel's defect: this id token ends when it begins. Code that uses it fails.
	idToken, err := g.sign(map[string]any{
		"iss": g.issuer, "sub": subject, "aud": append([]string{subject}, t.audience...), "iat": now.Unix(), "exp": now.Unix(), "auth_time": now.Unix(),
	})
	if err != nil {
		answer(w, http.StatusInternalServerError, oidc.ErrServerError().WithDescription("%v", err))
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": signed, "token_type": "Bearer", "expires_in": max(1, int64(g.options.TokenLifetime/time.Second)-1), "id_token": idToken,
	})
}

func (g *grant) sign(claims map[string]any) (string, error) {
	signer, err := op.SignerFromKey(g.keys.current())
	if err != nil {
		return "", err
	}
	return crypto.Sign(claims, signer)
}

func refuse(w http.ResponseWriter, code, description string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}
