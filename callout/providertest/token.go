package providertest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Draft is a token before it is signed. Tests change it into what they need.
type Draft struct {
	Method jwt.SigningMethod
	Header map[string]any
	Claims jwt.MapClaims
	Key    any // of the signature; nil: the provider's first
}

// Device is the token of the device's machine user, whose id is the device's.
func (p *Provider) Device(id string) *Draft {
	d := p.user(id, Devices)
	d.Claims["client_id"] = id
	return d
}

// Person is the token of a person with roles that the people's organization granted.
func (p *Provider) Person(sub string, roles ...string) *Draft {
	d := p.user(sub, People)
	granted := map[string]any{}
	for _, r := range roles {
		granted[r] = map[string]any{People: "acme.example.com"}
	}
	d.Claims["urn:zitadel:iam:org:project:roles"] = granted
	d.Claims["client_id"] = "301234567890123461"
	d.Claims["aud"] = []string{"301234567890123461", Project}
	return d
}

func (p *Provider) user(sub, organization string) *Draft {
	now := time.Now()
	return &Draft{
		Method: jwt.SigningMethodRS256,
		Header: map[string]any{"kid": "k1", "typ": "JWT"},
		Claims: jwt.MapClaims{
			"iss": p.Issuer(), "sub": sub, "aud": []string{Project}, "jti": "V2_1-at_1",
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLifetime).Unix(),
			"urn:zitadel:iam:user:resourceowner:id": organization,
		},
	}
}

// With changes a claim; nil takes it out.
func (d *Draft) With(claim string, value any) *Draft {
	if value == nil {
		delete(d.Claims, claim)
	} else {
		d.Claims[claim] = value
	}
	return d
}

// Role adds a role of our project that an organization granted, in the form of
// machines' tokens.
func (d *Draft) Role(role, organization string) *Draft {
	const claim = "urn:zitadel:iam:org:project:" + Project + ":roles"
	roles, _ := d.Claims[claim].(map[string]any)
	if roles == nil {
		roles = map[string]any{}
	}
	roles[role] = map[string]any{organization: "acme.example.com"}
	return d.With(claim, roles)
}

// Head changes a field of the header; nil takes it out.
func (d *Draft) Head(field string, value any) *Draft {
	if value == nil {
		delete(d.Header, field)
	} else {
		d.Header[field] = value
	}
	return d
}

// Sign signs with another key and algorithm.
func (d *Draft) Sign(method jwt.SigningMethod, key any) *Draft {
	d.Method, d.Key = method, key
	return d
}

// Token signs the draft.
func (d *Draft) Token(tb testing.TB) string {
	tb.Helper()
	t := jwt.NewWithClaims(d.Method, d.Claims)
	for k, v := range d.Header {
		t.Header[k] = v
	}
	if _, ok := d.Header["typ"]; !ok {
		delete(t.Header, "typ")
	}
	key := d.Key
	if key == nil {
		key = sharedKey()
		if d.Header["kid"] == "k2" {
			key = anotherKey()
		}
	}
	s, err := t.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// PublicPEM is the provider's public key as text, which confuses a verifier that
// takes it for a secret.
func PublicPEM(tb testing.TB) []byte {
	tb.Helper()
	b, err := x509.MarshalPKIXPublicKey(&sharedKey().PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

// ApplicationKeyFile is the key file of the callout's own application.
func ApplicationKeyFile(tb testing.TB) []byte { return keyFile(tb, "application", sharedKey()) }

// WrongApplicationKeyFile is a key file that the provider does not know.
func WrongApplicationKeyFile(tb testing.TB) []byte {
	return keyFile(tb, "application", AttackersKey())
}

func keyFile(tb testing.TB, kind string, key *rsa.PrivateKey) []byte {
	tb.Helper()
	b, err := json.Marshal(map[string]string{
		"type": kind, "keyId": "a1", "appId": "1", "clientId": ClientID,
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
