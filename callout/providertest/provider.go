// Package providertest runs an identity provider in a test: keys, introspection and
// switches for its faults. It makes tokens of any kind, forged ones too.
package providertest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// What the provider's tokens say.
const (
	Project       = "3012"
	OtherProject  = "9999"
	Devices       = "3000" // organization of the devices
	People        = "4000" // organization of the people
	OtherOrg      = "6666"
	ClientID      = "callout-app"
	ClientSecret  = "a+b%c:d"
	rsaBits       = 2048
	tokenLifetime = time.Hour
)

// Fault is what is wrong with the provider.
type Fault string

// Faults.
const (
	Healthy  Fault = ""
	Down     Fault = "down"      // it closes each connection
	Error    Fault = "error"     // status 500
	Hanging  Fault = "hanging"   // it never answers
	Slow     Fault = "slow"      // it answers after a while
	Empty    Fault = "empty"     // 200, and no keys
	NoJSON   Fault = "no JSON"   // 200, and a page of HTML
	Huge     Fault = "huge"      // 200, and an answer without an end
	Redirect Fault = "redirect"  // 302 to another host
	OnlyEnc  Fault = "only enc"  // keys for encryption alone
	OtherURL Fault = "other URL" // discovery names another issuer
)

// Provider is a provider on the loopback.
type Provider struct {
	server *httptest.Server

	mu     sync.Mutex
	fault  Fault
	slow   time.Duration
	keys   []published
	opaque map[string]jwt.MapClaims
	ended  chan struct{}

	keyReads, introspections atomic.Int64
}

type published struct {
	id  string
	key *rsa.PrivateKey
	use string
	alg string
}

var (
	sharedKey  = sync.OnceValue(newKey) // making one takes a while
	anotherKey = sync.OnceValue(newKey)
	foreignKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		panic(err) // a test cannot go on without
	}
	return k
}

// AttackersKey is a key that no provider publishes.
func AttackersKey() *rsa.PrivateKey { return foreignKey() }

// Start starts a provider that ends with the test. It publishes the key "k1".
func Start(tb testing.TB) *Provider {
	tb.Helper()
	p := &Provider{
		keys: []published{{"k1", sharedKey(), "sig", "RS256"}}, slow: 5 * time.Millisecond,
		opaque: map[string]jwt.MapClaims{}, ended: make(chan struct{}),
	}
	p.server = httptest.NewServer(p)
	tb.Cleanup(func() {
		close(p.ended)
		p.server.Close()
	})
	return p
}

// Issuer is the provider's issuer.
func (p *Provider) Issuer() string { return p.server.URL }

// Break sets what is wrong with the provider; Healthy mends it.
func (p *Provider) Break(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	if f == Down {
		p.server.CloseClientConnections()
	}
}

// SlowBy sets how long a slow provider takes.
func (p *Provider) SlowBy(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

// Rotate has the provider sign with the key "k2", and publish "k1" beside it where
// they overlap.
func (p *Provider) Rotate(overlap bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := published{"k2", anotherKey(), "sig", "RS256"}
	if overlap {
		p.keys = append([]published{next}, p.keys...)
	} else {
		p.keys = []published{next}
	}
}

// Publish adds a key with any use and algorithm.
func (p *Provider) Publish(id, use, alg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, published{id, anotherKey(), use, alg})
}

// KeyReads is how often somebody asked for the keys.
func (p *Provider) KeyReads() int64 { return p.keyReads.Load() }

// Introspections is how often somebody asked about a token.
func (p *Provider) Introspections() int64 { return p.introspections.Load() }

// Opaque makes an opaque token that introspection knows.
func (p *Provider) Opaque(claims jwt.MapClaims) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := rand.Text() + rand.Text()
	p.opaque[token] = claims
	return token
}

// Revoke makes an opaque token inactive.
func (p *Provider) Revoke(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.opaque, token)
}

// ServeHTTP answers with the endpoints that the callout needs.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	fault, slow := p.fault, p.slow
	p.mu.Unlock()
	switch r.URL.Path {
	case "/oauth/v2/keys":
		p.keyReads.Add(1)
	case "/oauth/v2/introspect":
		p.introspections.Add(1)
	}
	switch fault {
	case Down:
		panic(http.ErrAbortHandler)
	case Error:
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	case Hanging:
		select {
		case <-r.Context().Done():
		case <-p.ended:
		}
		return
	case Slow:
		time.Sleep(slow)
	case NoJSON:
		fmt.Fprint(w, "<html>welcome</html>")
		return
	case Redirect:
		http.Redirect(w, r, "http://127.0.0.2:9/keys", http.StatusFound)
		return
	case Huge:
		for r.Context().Err() == nil {
			if _, err := fmt.Fprintf(w, "%64000s", " "); err != nil {
				return
			}
		}
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		issuer := p.Issuer()
		if fault == OtherURL {
			issuer += ".example.com"
		}
		answer(w, map[string]any{"issuer": issuer, "jwks_uri": p.Issuer() + "/oauth/v2/keys", "introspection_endpoint": p.Issuer() + "/oauth/v2/introspect"})
	case "/oauth/v2/keys":
		answer(w, map[string]any{"keys": p.published(fault)})
	case "/oauth/v2/introspect":
		p.introspect(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) published(f Fault) []jwkset.JWKMarshal {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := []jwkset.JWKMarshal{}
	if f == Empty {
		return keys
	}
	for _, k := range p.keys {
		if f == OnlyEnc {
			k.use = "enc"
		}
		j, err := jwkset.NewJWKFromKey(&k.key.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
			KID: k.id, ALG: jwkset.ALG(k.alg), USE: jwkset.USE(k.use),
		}})
		if err != nil {
			panic(err) // the test's own key
		}
		keys = append(keys, j.Marshal())
	}
	return keys
}

func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	if !p.authenticated(r) {
		w.WriteHeader(http.StatusUnauthorized)
		answer(w, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	claims, ok := p.opaque[r.PostFormValue("token")]
	p.mu.Unlock()
	if !ok {
		answer(w, map[string]any{"active": false})
		return
	}
	said := map[string]any{"active": true}
	for k, v := range claims {
		said[k] = v
	}
	answer(w, said)
}

func (p *Provider) authenticated(r *http.Request) bool {
	if id, secret, ok := r.BasicAuth(); ok {
		return id == ClientID && secret == "a%2Bb%25c%3Ad" && r.PostFormValue("client_assertion") == ""
	}
	_, err := jwt.Parse(r.PostFormValue("client_assertion"), func(t *jwt.Token) (any, error) { return &sharedKey().PublicKey, nil },
		jwt.WithAudience(p.Issuer()), jwt.WithIssuer(ClientID), jwt.WithSubject(ClientID), jwt.WithExpirationRequired())
	return err == nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
