package responder

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
)

// asker is a server, or somebody who plays one.
type asker struct {
	t      *testing.T
	server nkeys.KeyPair
	xkey   nkeys.KeyPair
	claims *jwt.AuthorizationRequestClaims
	to     string // the callout's curve key; empty: plain
}

func create(t *testing.T, f func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string, []byte) {
	t.Helper()
	pair, err := f()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public, seed
}

func (a *asker) send() (data []byte, peer string) {
	a.t.Helper()
	text, err := a.claims.Encode(a.server)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.to == "" {
		return []byte(text), ""
	}
	if peer, err = a.xkey.PublicKey(); err != nil {
		a.t.Fatal(err)
	}
	if data, err = a.xkey.Seal([]byte(text), a.to); err != nil {
		a.t.Fatal(err)
	}
	return data, peer
}

func TestRequestsThatNoServerOfOursMakesAreRefusedOrNotAnswered(t *testing.T) {
	t.Parallel()
	_, issuer, issuerSeed := create(t, nkeys.CreateAccount)
	_, older, olderSeed := create(t, nkeys.CreateAccount)
	_, xkey, xkeySeed := create(t, nkeys.CreateCurveKeys)
	_, olderXKey, olderXKeySeed := create(t, nkeys.CreateCurveKeys)
	_, foreignXKey, _ := create(t, nkeys.CreateCurveKeys)
	_, foreignIssuer, _ := create(t, nkeys.CreateAccount)
	_, user, _ := create(t, nkeys.CreateUser)
	keys := Keys{Issuers: [][]byte{issuerSeed, olderSeed}, XKeys: [][]byte{xkeySeed, olderXKeySeed}}
	tests := map[string]struct {
		ask    func(*asker)
		sent   func(data []byte, peer string) ([]byte, string)
		plain  bool // the callout was told to answer plain requests
		reason refusal.Reason
		ours   bool
	}{
		"a server's request":                           {ours: true},
		"a server of the old configuration, by issuer": {ask: func(a *asker) { a.claims.Subject = older }, ours: true},
		"a server of the old configuration, by xkey":   {ask: func(a *asker) { a.to = olderXKey }, ours: true},
		"a plain request":                              {ask: func(a *asker) { a.to = "" }, reason: refusal.PlainRequest},
		"a plain request that is allowed":              {ask: func(a *asker) { a.to = "" }, plain: true, ours: true},
		"sealed for somebody else":                     {ask: func(a *asker) { a.to = foreignXKey }},
		"of another issuer's servers":                  {ask: func(a *asker) { a.claims.Subject = foreignIssuer }},
		"made by a user":                               {ask: func(a *asker) { a.server, _, _ = create(t, nkeys.CreateServer) }, reason: refusal.MalformedRequest},
		"to another audience":                          {ask: func(a *asker) { a.claims.Audience = "nats-something" }, reason: refusal.MalformedRequest},
		"expired an hour ago":                          {ask: func(a *asker) { a.claims.Expires = time.Now().Add(-time.Hour).Unix() }, reason: refusal.MalformedRequest},
		"expired by the server's clock":                {ask: func(a *asker) { a.claims.Expires = time.Now().Add(-20 * time.Second).Unix() }, ours: true},
		"without a user's key":                         {ask: func(a *asker) { a.claims.UserNkey = "U" }},
		"without a server's name":                      {ask: func(a *asker) { a.claims.Server.ID = "" }},
		"nothing":                                      {sent: func([]byte, string) ([]byte, string) { return nil, "" }},
		"of 100 KB":                                    {sent: func(_ []byte, peer string) ([]byte, string) { return make([]byte, 100<<10), peer }},
		"cut short":                                    {sent: func(d []byte, peer string) ([]byte, string) { return d[:len(d)/2], peer }},
		"cut to its seal":                              {sent: func(d []byte, peer string) ([]byte, string) { return d[:sealOverhead], peer }},
		"one bit changed":                              {sent: func(d []byte, peer string) ([]byte, string) { d[len(d)-9] ^= 1; return d, peer }},
		"under another server's xkey":                  {sent: func(d []byte, _ string) ([]byte, string) { return d, foreignXKey }},
		"under an xkey that is none":                   {sent: func(d []byte, _ string) ([]byte, string) { return d, strings.Repeat("X", 5000) }},
		"under a user's key as xkey":                   {sent: func(d []byte, _ string) ([]byte, string) { return d, user }},
		"of another version of seals":                  {sent: func(d []byte, peer string) ([]byte, string) { d[3] = '2'; return d, peer }},
		"a sealed one that says it is plain":           {sent: func(d []byte, _ string) ([]byte, string) { return d, "" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := newCodec(keys, tt.plain, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			server, id, _ := create(t, nkeys.CreateServer)
			theirs, _, _ := create(t, nkeys.CreateCurveKeys)
			a := &asker{t: t, server: server, xkey: theirs, to: xkey, claims: jwt.NewAuthorizationRequestClaims(issuer)}
			a.claims.Audience, a.claims.UserNkey, a.claims.Server.ID = requestAudience, user, id
			a.claims.Expires = time.Now().Add(2 * time.Second).Unix()
			a.claims.ConnectOptions.Token, a.claims.ClientInformation.Host = "token", "10.0.0.1"
			if tt.ask != nil {
				tt.ask(a)
			}
			data, peer := a.send()
			if tt.sent != nil {
				data, peer = tt.sent(data, peer)
			}
			r, err := c.decode(data, peer)
			switch {
			case tt.ours:
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(Login{Token: "token", Host: "10.0.0.1", ServerID: id}, r.login); diff != "" {
					t.Errorf("login (-want +got):\n%s", diff)
				}
				answered(t, c, r, a)
			case tt.reason != "":
				if !refusal.Is(err, tt.reason) {
					t.Errorf("error %v, want %s", err, tt.reason)
				}
				if _, err := c.deny(r, refusal.Of(err)); err != nil {
					t.Errorf("the refusal cannot be sent: %v", err)
				}
			default:
				if !errors.Is(err, errNotOurs) {
					t.Errorf("error %v, want errNotOurs", err)
				}
			}
		})
	}
}

// answered opens the answers as the server does, with nkeys' own code, and looks at
// what a user's claims must never lack.
func answered(t *testing.T, c *codec, r request, a *asker) {
	t.Helper()
	exp := time.Now().Add(time.Hour)
	g, err := callout.NewGrant(identity.Identity{Kind: identity.Device, ID: "pi-01"}, nil, exp)
	if err != nil {
		t.Fatal(err)
	}
	open := func(answer []byte) *jwt.AuthorizationResponseClaims {
		if a.to != "" {
			if answer, err = a.xkey.Open(answer, a.to); err != nil {
				t.Fatal(err)
			}
		}
		claims, err := jwt.DecodeAuthorizationResponseClaims(string(answer))
		if err != nil {
			t.Fatal(err)
		}
		if claims.Issuer != a.claims.Subject || claims.Audience != a.claims.Server.ID || claims.Subject != a.claims.UserNkey {
			t.Errorf("the answer is not to the question: %+v", claims.ClaimsData)
		}
		return claims
	}
	granted, err := c.grant(r, g)
	if err != nil {
		t.Fatal(err)
	}
	u, err := jwt.DecodeUserClaims(open(granted).Jwt)
	if err != nil {
		t.Fatal(err)
	}
	if u.Name != "device-pi-01" || u.Audience != "DEVICES" || u.IssuerAccount != "" || u.Expires != exp.Unix() || u.NotBefore != 0 ||
		len(u.Pub.Allow) == 0 || len(u.Sub.Allow) == 0 || u.Resp == nil || len(u.AllowedConnectionTypes) != 2 || u.Issuer != a.claims.Subject {
		t.Errorf("user %+v", u)
	}
	denied, err := c.deny(r, refusal.New(refusal.Expired, "%s", strings.Repeat("x", 4096)))
	if err != nil {
		t.Fatal(err)
	}
	if e := open(denied); e.Jwt != "" || !strings.HasPrefix(e.Error, "Expired: ") || len(e.Error) > maxReasonBytes {
		t.Errorf("refusal %q with the user %q", e.Error, e.Jwt)
	}
}

func TestASealIsThatOfNkeys(t *testing.T) {
	t.Parallel()
	_, _, seed := create(t, nkeys.CreateCurveKeys)
	ours, err := newCurveKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxPeers { // servers come and go
		theirs, public, _ := create(t, nkeys.CreateCurveKeys)
		sealed, err := ours.seal([]byte("hello"), public)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := theirs.Open(sealed, ours.public); err != nil || string(plain) != "hello" {
			t.Fatalf("nkeys opens %q, %v", plain, err)
		}
		if sealed, err = theirs.Seal([]byte("hello"), ours.public); err != nil {
			t.Fatal(err)
		}
		if plain, err := ours.open(sealed, public); err != nil || string(plain) != "hello" {
			t.Fatalf("we open %q, %v", plain, err)
		}
	}
	if len(ours.shared) > maxPeers {
		t.Errorf("%d shared keys are kept", len(ours.shared))
	}
}
