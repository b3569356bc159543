package responder_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/audit"
	"fleet.nationtech.io/callout/baretest"
	"fleet.nationtech.io/callout/decision"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog/benchtest"
)

type allowAll struct{}

func (allowAll) Allowed(string) error { return nil }

// BenchmarkDecision prints a decision beside a callout that looks at nothing, and
// decisions a second on one core beside the bare check of a signature.
func BenchmarkDecision(b *testing.B) {
	const batch = 200
	p := providertest.Start(b)
	tok := p.Device("pi-01").Token(b)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	issuerSeed, issuerKey := pair(b, nkeys.CreateAccount)
	xkeySeed, xkeyKey := pair(b, nkeys.CreateCurveKeys)
	_, userKey := pair(b, nkeys.CreateUser)
	server, err := nkeys.CreateServer()
	must(err)
	id, err := server.PublicKey()
	must(err)
	theirs, err := nkeys.CreateCurveKeys()
	must(err)
	peer, err := theirs.PublicKey()
	must(err)
	q := jwt.NewAuthorizationRequestClaims(issuerKey)
	q.Audience, q.UserNkey, q.Server.ID, q.Expires = "nats-authorization-request", userKey, id, time.Now().Add(time.Hour).Unix()
	q.ConnectOptions.Token, q.ConnectOptions.Lang, q.ConnectOptions.Version = tok, "go", nats.Version
	text, err := q.Encode(server)
	must(err)
	request, err := theirs.Seal([]byte(text), xkeyKey)
	must(err)

	ours := decisions(b, p, issuerSeed, xkeySeed)
	grant, err := callout.NewGrant(identity.Identity{Kind: identity.Device, ID: "pi-01"}, nil, time.Now().Add(time.Hour))
	must(err)
	nothing := &baretest.Callout{Grant: grant}
	nothing.Issuer, err = nkeys.FromSeed(issuerSeed)
	must(err)
	nothing.XKey, err = nkeys.FromCurveSeed(xkeySeed)
	must(err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	sum := sha256.Sum256([]byte(tok))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	must(err)

	for b.Loop() {
		s := benchtest.Alternate(b, 7,
			benchtest.Turn{Name: "decision", Run: func() {
				for range batch {
					if ours.Answer(request, peer) == nil {
						b.Fatal("no answer")
					}
				}
			}},
			benchtest.Turn{Name: "bare callout", Run: func() {
				for range batch {
					if _, err := nothing.Answer(request, peer); err != nil {
						b.Fatal(err)
					}
				}
			}},
			benchtest.Turn{Name: "RS256", Run: func() {
				for range batch {
					if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
						b.Fatal(err)
					}
				}
			}},
		)
		fmt.Printf("a decision: %s of a callout that signs a constant answer (processor time; goal 1.40)\n",
			benchtest.Spread(benchtest.Ratios(s[0].CPU, s[1].CPU)))
		fmt.Printf("decisions on one core: %s; of bare RS256 checks: %s\n",
			benchtest.Rate(batch, s[0].CPU), benchtest.Spread(benchtest.Ratios(s[2].CPU, s[0].CPU)))
	}
}

// decisions is a responder with all that decides, but for the log and the servers.
func decisions(b *testing.B, p *providertest.Provider, issuer, xkey []byte) *responder.Responder {
	b.Helper()
	source, err := token.NewProvider(token.ProviderOptions{Issuer: p.Issuer()})
	if err != nil {
		b.Fatal(err)
	}
	keys := token.NewKeys(token.KeysOptions{Source: source, Algorithms: []string{"RS256"}})
	go func() { _ = keys.Run(b.Context()) }() // ends with the benchmark
	if err := keys.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	v, err := token.NewVerifier(token.Options{Issuer: p.Issuer(), Project: providertest.Project, Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	r, err := responder.New(responder.Options{
		Keys: responder.Keys{Issuers: [][]byte{issuer}, XKeys: [][]byte{xkey}},
		Decider: decision.New(decision.Options{
			Verifier: v, Rules: identity.Rules{DeviceOrganization: providertest.Devices}, Access: allowAll{},
			Limiter:  access.NewLimiter(func() time.Time { at = at.Add(4 * time.Second); return at }), // never too often
			Recorder: audit.New(audit.Options{}),
		}),
	})
	if err != nil {
		b.Fatal(err)
	}
	return r
}
