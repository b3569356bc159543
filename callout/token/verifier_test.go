package token_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/callout/claims"
	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/token"
)

type side struct {
	provider *providertest.Provider
	keys     *token.Keys
	verifier *token.Verifier
}

// start gives a verifier whose keys were read.
func start(t *testing.T, change ...func(*token.KeysOptions, *token.Options)) side {
	t.Helper()
	p := providertest.Start(t)
	source, err := token.NewProvider(token.ProviderOptions{Issuer: p.Issuer(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ko := token.KeysOptions{Source: source, Algorithms: []string{"RS256"}}
	o := token.Options{Issuer: p.Issuer(), Project: providertest.Project}
	for _, f := range change {
		f(&ko, &o)
	}
	keys := token.NewKeys(ko)
	o.Keys = keys
	v, err := token.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = keys.Run(t.Context()) }() // ends with the test
	for deadline := time.Now().Add(time.Minute); !keys.Ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the keys were not read within a minute")
		}
	}
	return side{p, keys, v}
}

func TestEachRefusalHasItsReason(t *testing.T) {
	t.Parallel()
	s := start(t, func(k *token.KeysOptions, _ *token.Options) { k.MinInterval = time.Hour }) // the provider is not asked again
	p := s.provider
	good := func() *providertest.Draft { return p.Device("pi-01") }
	now := time.Now()
	tests := map[string]struct {
		token string
		want  refusal.Reason // empty: accepted
		says  string
		known bool // the claims may be believed though the token is refused
	}{
		"a device's token":              {token: good().Token(t)},
		"typ at+jwt":                    {token: good().Head("typ", "at+jwt").Token(t)},
		"no typ":                        {token: good().Head("typ", nil).Token(t)},
		"aud is a string":               {token: good().With("aud", providertest.Project).Token(t)},
		"nbf and iat within the leeway": {token: good().With("nbf", now.Add(20*time.Second).Unix()).With("iat", now.Add(20*time.Second).Unix()).Token(t)},
		"the token carries the key of the attacker": {token: good().Head("jwk", map[string]any{"kty": "RSA"}).Sign(jwt.SigningMethodRS256, providertest.AttackersKey()).Token(t), want: refusal.BadSignature},
		"no token":                      {want: refusal.TokenMissing},
		"larger than CONNECT may carry": {token: good().With("x", strings.Repeat("y", 3500)).Token(t), want: refusal.TokenTooLarge, says: "at most 3500"},
		"opaque where no introspection is configured": {token: "abcdefgh", want: refusal.OpaqueToken, says: "access token type to JWT"},
		"three dots":                            {token: good().Token(t) + ".x", want: refusal.OpaqueToken},
		"two dots and nothing else":             {token: "..", want: refusal.TokenMalformed},
		"header is no base64":                   {token: "!!." + strings.SplitN(good().Token(t), ".", 2)[1], want: refusal.TokenMalformed},
		"header is no JSON":                     {token: base64.RawURLEncoding.EncodeToString([]byte("hello")) + ".e30.e30", want: refusal.TokenMalformed},
		"header is null":                        {token: base64.RawURLEncoding.EncodeToString([]byte("null")) + ".e30.e30", want: refusal.TokenMalformed},
		"a line end within":                     {token: good().Token(t) + "\n", want: refusal.TokenMalformed},
		"changed trailing bits of base64":       {token: trailing(good().Token(t)), want: refusal.TokenMalformed},
		"alg none":                              {token: good().Sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType).Token(t), want: refusal.AlgorithmNotAllowed},
		"HS256 with the public key as secret":   {token: good().Sign(jwt.SigningMethodHS256, providertest.PublicPEM(t)).Token(t), want: refusal.AlgorithmNotAllowed},
		"an algorithm that is not in the list":  {token: good().Sign(jwt.SigningMethodRS512, nil).Token(t), want: refusal.AlgorithmNotAllowed},
		"PS256 where RS256 alone is configured": {token: good().Sign(jwt.SigningMethodPS256, nil).Token(t), want: refusal.AlgorithmNotAllowed},
		"an algorithm that nobody knows":        {token: base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"XX1","kid":"k1"}`)) + ".e30.e30", want: refusal.AlgorithmNotAllowed},
		"no kid":                                {token: good().Head("kid", nil).Token(t), want: refusal.KeyIDMissing},
		"an empty kid":                          {token: good().Head("kid", "").Token(t), want: refusal.KeyIDMissing},
		"a kid that is a number":                {token: good().Head("kid", 1).Token(t), want: refusal.KeyIDMissing},
		"an unknown kid":                        {token: good().Head("kid", "k9").Token(t), want: refusal.KeyUnknown},
		"crit":                                  {token: good().Head("crit", []string{"b64"}).Token(t), want: refusal.HeaderNotAllowed},
		"typ of a logout token":                 {token: good().Head("typ", "logout+jwt").Token(t), want: refusal.HeaderNotAllowed},
		"typ that is a list":                    {token: good().Head("typ", []string{"JWT"}).Token(t), want: refusal.HeaderNotAllowed},
		"signed by another key":                 {token: good().Sign(jwt.SigningMethodRS256, providertest.AttackersKey()).Token(t), want: refusal.BadSignature},
		"one byte of the claims changed":        {token: tampered(good().Token(t)), want: refusal.BadSignature},
		"another issuer":                        {token: good().With("iss", "https://evil.example.com").Token(t), want: refusal.WrongIssuer},
		"the issuer with a slash":               {token: good().With("iss", p.Issuer()+"/").Token(t), want: refusal.WrongIssuer},
		"no issuer":                             {token: good().With("iss", nil).Token(t), want: refusal.WrongIssuer},
		"an issuer that is a number":            {token: good().With("iss", 7).Token(t), want: refusal.WrongIssuer},
		"another project":                       {token: good().With("aud", []string{providertest.OtherProject}).Token(t), want: refusal.WrongAudience, says: "urn:zitadel:iam:org:project:id:3012:aud"},
		"an empty audience":                     {token: good().With("aud", []string{}).Token(t), want: refusal.WrongAudience},
		"an audience that is a number":          {token: good().With("aud", 3012).Token(t), want: refusal.WrongAudience},
		"no audience":                           {token: good().With("aud", nil).Token(t), want: refusal.WrongAudience},
		"an ID token by its nonce":              {token: good().With("nonce", "n").Token(t), want: refusal.IDToken},
		"an ID token by its at_hash":            {token: good().With("at_hash", "h").Token(t), want: refusal.IDToken},
		"no sub":                                {token: good().With("sub", nil).Token(t), want: refusal.SubjectMissing},
		"an empty sub":                          {token: good().With("sub", "").Token(t), want: refusal.SubjectMissing},
		"SUB in place of sub":                   {token: good().With("sub", nil).With("SUB", "pi-01").Token(t), want: refusal.SubjectMissing},
		"a sub that is a number":                {token: good().With("sub", 17).Token(t), want: refusal.TokenMalformed},
		"expired a second ago":                  {token: good().With("exp", now.Add(-time.Second).Unix()).Token(t), want: refusal.Expired, known: true},
		"expires now":                           {token: good().With("exp", now.Unix()).Token(t), want: refusal.Expired, known: true},
		"no exp":                                {token: good().With("exp", nil).Token(t), want: refusal.ExpiryMissing, known: true},
		"an exp that is a text":                 {token: good().With("exp", "tomorrow").Token(t), want: refusal.TokenMalformed, known: true},
		"an exp after the year 9999":            {token: good().With("exp", 1e300).Token(t), want: refusal.TokenMalformed, known: true},
		"nbf beyond the leeway":                 {token: good().With("nbf", now.Add(time.Minute).Unix()).Token(t), want: refusal.NotYetValid, known: true},
		"iat beyond the leeway":                 {token: good().With("iat", now.Add(time.Minute).Unix()).Token(t), want: refusal.NotYetValid, known: true},
	}
	t.Logf("%d tokens", len(tests))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := s.verifier.Verify(tt.token)
			if tt.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if c.Subject != "pi-01" || c.Organization != providertest.Devices || c.KeyID != "k1" || !c.Expires.After(now) {
					t.Errorf("claims %+v", c)
				}
				return
			}
			if !refusal.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %s with %q", err, tt.want, tt.says)
			}
			if !tt.known && !cmp.Equal(c, claims.Claims{}) {
				t.Errorf("claims of a refused token are given out: %+v", c)
			}
			if tt.known && c.Subject != "pi-01" {
				t.Errorf("the subject of a genuine token is not given out: %+v", c)
			}
		})
	}
}

// trailing gives the same token to anyone who does not look at the last bits.
func trailing(tok string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, tok[len(tok)-1])
	return tok[:len(tok)-1] + string(alphabet[last^1])
}

func tampered(tok string) string {
	parts := strings.Split(tok, ".")
	b, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(b), "pi-01", "pi-02", 1)))
	return strings.Join(parts, ".")
}

func TestAVerifierThatAcceptsTooMuchIsNotMade(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]token.Options{
		"no project":           {Issuer: "https://a"},
		"symmetric":            {Issuer: "https://a", Project: "p", Algorithms: []string{"HS256"}},
		"none":                 {Issuer: "https://a", Project: "p", Algorithms: []string{"none"}},
		"an unknown algorithm": {Issuer: "https://a", Project: "p", Algorithms: []string{"RS1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Keys = token.NewKeys(token.KeysOptions{})
			if _, err := token.NewVerifier(o); err == nil {
				t.Error("no error")
			}
		})
	}
	for _, issuer := range []string{"", "auth.example.com", "https://auth.example.com/", "ftp://a"} {
		if _, err := token.NewProvider(token.ProviderOptions{Issuer: issuer}); err == nil {
			t.Errorf("issuer %q: no error", issuer)
		}
	}
}

func TestKeysForEncryptionOrAnotherAlgorithmVerifyNothing(t *testing.T) {
	t.Parallel()
	p := providertest.Start(t)
	p.Publish("enc", "enc", "RS256")
	p.Publish("rs512", "sig", "RS512")
	source, err := token.NewProvider(token.ProviderOptions{Issuer: p.Issuer()})
	if err != nil {
		t.Fatal(err)
	}
	keys := token.NewKeys(token.KeysOptions{Source: source, Algorithms: []string{"RS256", "RS512"}})
	v, err := token.NewVerifier(token.Options{Issuer: p.Issuer(), Project: providertest.Project, Keys: keys, Algorithms: []string{"RS256", "RS512"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = keys.Run(t.Context()) }() // ends with the test
	if err := keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		kid  string
		want refusal.Reason
	}{
		"a key for encryption":           {"enc", refusal.KeyUnknown},
		"a key for another algorithm":    {"rs512", refusal.KeyAlgorithm},
		"a key that was never published": {"k3", refusal.KeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(p.Device("pi-01").Head("kid", tt.kid).Token(t))
			if !refusal.Is(err, tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestATokenThatNeedsTheProviderSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t, func(k *token.KeysOptions, _ *token.Options) { k.MinInterval = time.Millisecond })
	time.Sleep(2 * time.Millisecond) // the minimum interval
	_, err := s.verifier.Verify(s.provider.Device("pi-01").Head("kid", "k2").Token(t))
	if !errors.Is(err, token.ErrNeedsProvider) {
		t.Errorf("error %v, want ErrNeedsProvider", err)
	}
}
