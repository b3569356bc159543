package token

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
)

// DefaultLeeway is how far in the future nbf and iat may be.
const DefaultLeeway = 30 * time.Second

// ErrNeedsProvider says that the token can be judged only after the provider was
// asked: Resolve does that.
var ErrNeedsProvider = errors.New("the provider has to be asked about this token")

// Options say what a token must be.
type Options struct {
	Issuer     string
	Project    string   // the project's id, which aud must contain
	Algorithms []string // empty means RS256
	Leeway     time.Duration
	Keys       *Keys
	// Introspector judges opaque tokens; nil refuses them.
	Introspector *Introspector
	Now          func() time.Time
}

// Verifier judges tokens.
type Verifier struct {
	options Options
	parser  *jwt.Parser
	keyfunc jwt.Keyfunc
}

// NewVerifier checks the options.
func NewVerifier(o Options) (*Verifier, error) {
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{jwt.SigningMethodRS256.Alg()}
	}
	for _, a := range o.Algorithms {
		if strings.HasPrefix(a, "HS") || strings.EqualFold(a, "none") || jwt.GetSigningMethod(a) == nil {
			return nil, fmt.Errorf("algorithm %q cannot be allowed: name RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA", a)
		}
	}
	if o.Project == "" {
		return nil, errors.New("no project id: a token of any project of the provider would be accepted")
	}
	if o.Leeway == 0 {
		o.Leeway = DefaultLeeway
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	keys, err := keyfunc.New(keyfunc.Options{Storage: o.Keys, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	if err != nil {
		return nil, err
	}
	v := &Verifier{options: o, keyfunc: keys.Keyfunc}
	v.parser = jwt.NewParser(jwt.WithValidMethods(o.Algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	return v, nil
}

// Verify judges a token by what is at hand, without waiting for anything. It fails
// with a *refusal.Error or with ErrNeedsProvider. Beside a refusal it gives claims
// where signature, issuer and audience hold: nothing else of a refused token may
// be believed.
func (v *Verifier) Verify(token string) (claims.Claims, error) {
	switch {
	case token == "":
		return claims.Claims{}, refusal.New(refusal.TokenMissing, "the client sent no token")
	case len(token) > eventlog.MaxTokenBytes:
		return claims.Claims{}, refusal.New(refusal.TokenTooLarge, "the token has %d bytes, at most %d are accepted: ask the provider for fewer scopes", len(token), eventlog.MaxTokenBytes)
	case !printable(token):
		return claims.Claims{}, refusal.New(refusal.TokenMalformed, "the token has characters that no token has, such as a line end")
	case opaque(token):
		if v.options.Introspector == nil {
			return claims.Claims{}, refusal.New(refusal.OpaqueToken,
				"the token is opaque: set the user's access token type to JWT at the provider, or configure introspection")
		}
		return v.introspected(token)
	}
	c, err := v.signed(token)
	if err == nil || !refusal.Is(err, refusal.KeyUnknown, refusal.KeysTooOld) {
		return c, err
	}
	if v.options.Keys.refreshable() {
		return claims.Claims{}, ErrNeedsProvider
	}
	if failed := v.options.Keys.lastError(); failed != nil {
		return claims.Claims{}, refusal.New(refusal.ProviderUnavailable, "the token's key is not known, and the provider's keys cannot be read: %v", failed)
	}
	return c, err
}

// Resolve judges a token for which Verify gave ErrNeedsProvider. It waits for the
// provider as long as the context lasts.
func (v *Verifier) Resolve(ctx context.Context, token string) (claims.Claims, error) {
	if opaque(token) {
		a, err := v.options.Introspector.ask(ctx, token)
		if err != nil {
			return claims.Claims{}, err
		}
		return v.answered(a)
	}
	if err := v.options.Keys.Refresh(ctx); err != nil {
		return claims.Claims{}, refusal.New(refusal.ProviderUnavailable, "the token's key is not known, and the provider's keys cannot be read: %v", err)
	}
	return v.signed(token)
}

// opaque says whether a token is not of a JWT's form, which has exactly two dots.
// Zitadel's opaque tokens are base64url, without a dot. A JWT that fails is never
// introspected.
func opaque(token string) bool { return strings.Count(token, ".") != 2 }

// printable says whether a token has only characters that a token may have: a
// decoder of base64 skips line ends, so that one token would have many forms.
func printable(token string) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

// signed judges a JWT by the keys at hand.
func (v *Verifier) signed(token string) (claims.Claims, error) {
	var key string
	all := jwt.MapClaims{} // names of a struct's fields match without regard to case
	parsed, err := v.parser.ParseWithClaims(token, all, func(t *jwt.Token) (any, error) {
		id, err := checkHeader(t.Header)
		if err != nil {
			return nil, err
		}
		key = id
		return v.keyOf(t, id)
	})
	if err != nil {
		return claims.Claims{}, v.refuse(parsed, err)
	}
	return v.judge(all, key)
}

// checkHeader gives the key's id.
func checkHeader(h map[string]any) (string, error) {
	if _, ok := h["crit"]; ok {
		return "", refusal.New(refusal.HeaderNotAllowed, "the token's header has crit, which names extensions that are not understood here")
	}
	if typ, ok := h["typ"]; ok {
		s, _ := typ.(string)
		switch strings.TrimPrefix(strings.ToLower(s), "application/") {
		case "jwt", "at+jwt":
		default:
			return "", refusal.New(refusal.HeaderNotAllowed, "the token's typ is %.40q, which is not that of an access token", fmt.Sprint(typ))
		}
	}
	id, _ := h["kid"].(string)
	if id == "" {
		return "", refusal.New(refusal.KeyIDMissing, "the token's header names no key (kid)")
	}
	return id, nil
}

func (v *Verifier) keyOf(t *jwt.Token, id string) (any, error) {
	key, err := v.keyfunc(t)
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, errKeysTooOld):
		return nil, refusal.New(refusal.KeysTooOld, "the provider's keys were read too long ago, or never")
	case errors.Is(err, errKeyUnknown):
		return nil, refusal.New(refusal.KeyUnknown, "the provider publishes no signing key %.80q", id)
	}
	return nil, refusal.New(refusal.KeyAlgorithm, "the key %.80q is published for another algorithm than %v", id, t.Header["alg"])
}

// refuse says why a token could not be parsed or its signature did not hold.
func (v *Verifier) refuse(t *jwt.Token, err error) *refusal.Error {
	var ours *refusal.Error
	if errors.As(err, &ours) {
		return ours
	}
	if errors.Is(err, jwt.ErrTokenMalformed) || t == nil || t.Header == nil {
		return refusal.New(refusal.TokenMalformed, "the token is no JSON Web Token that can be decoded")
	}
	if alg, _ := t.Header["alg"].(string); !slices.Contains(v.options.Algorithms, alg) {
		return refusal.New(refusal.AlgorithmNotAllowed, "the token's alg is %.20q, allowed are %v", alg, v.options.Algorithms)
	}
	return refusal.New(refusal.BadSignature, "the token's signature is not that of the key which it names")
}

// judge checks the claims of a token whose signature holds.
func (v *Verifier) judge(all jwt.MapClaims, key string) (claims.Claims, error) {
	if iss, err := all.GetIssuer(); err != nil || iss != v.options.Issuer {
		return claims.Claims{}, refusal.New(refusal.WrongIssuer, "the token's issuer is %.200q, the configured one is %q", iss, v.options.Issuer)
	}
	if aud, err := all.GetAudience(); err != nil || !slices.Contains(aud, v.options.Project) {
		return claims.Claims{}, refusal.New(refusal.WrongAudience,
			"the token's audience does not contain the project %s: ask for it with the scope urn:zitadel:iam:org:project:id:%[1]s:aud", v.options.Project)
	}
	c, err := claims.Read(all, v.options.Project)
	if err != nil {
		return claims.Claims{}, refusal.New(refusal.TokenMalformed, "the token cannot be read: %v", err)
	}
	for _, name := range []string{"nonce", "at_hash"} {
		if _, ok := all[name]; ok {
			return claims.Claims{}, refusal.New(refusal.IDToken, "the token has %s, so it is an ID token: send the access token", name)
		}
	}
	c.KeyID = key
	if c.Subject == "" {
		return claims.Claims{}, refusal.New(refusal.SubjectMissing, "the token has no subject (sub)")
	}
	return c, v.judgeTimes(all, &c)
}

// judgeTimes sets when the claims expire. A token past its exp would give a user
// that the server refuses, so only nbf and iat, which a provider sets to its own
// now, have leeway.
func (v *Verifier) judgeTimes(all jwt.MapClaims, c *claims.Claims) error {
	now := v.options.Now()
	exp, err := moment(all.GetExpirationTime())
	if err != nil {
		return refusal.New(refusal.TokenMalformed, "the token's exp is no time")
	}
	if exp == nil {
		return refusal.New(refusal.ExpiryMissing, "the token has no exp: a token that never expires is not accepted")
	}
	c.Expires = exp.Truncate(time.Second)
	if !c.Expires.After(now) {
		return refusal.New(refusal.Expired, "the token expired at %s, now is %s", exp.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	for name, get := range map[string]func() (*jwt.NumericDate, error){"nbf": all.GetNotBefore, "iat": all.GetIssuedAt} {
		t, err := moment(get())
		if err != nil {
			return refusal.New(refusal.TokenMalformed, "the token's %s is no time", name)
		}
		if t != nil && t.After(now.Add(v.options.Leeway)) {
			return refusal.New(refusal.NotYetValid, "the token's %s is %s, now is %s", name, t.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// moment refuses what no clock will ever show.
func moment(d *jwt.NumericDate, err error) (*time.Time, error) {
	if err != nil || d == nil {
		return nil, err
	}
	const year9999 = 253402300799
	if s := d.Unix(); s < 0 || s > year9999 || s == math.MinInt64 {
		return nil, errors.New("out of range")
	}
	return &d.Time, nil
}
