package signin

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator/internal/dashboard/logins/loginstest"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/session"
)

// world is a sign-in with a NATS server and an identity provider.
type world struct {
	t        *testing.T
	nats     *loginstest.Server
	js       jetstream.JetStream
	signIn   *SignIn
	log      *lines
	open     http.Handler // what asks nobody, below Prefix
	closed   http.Handler // what is behind Require: it answers with the actor
	provider *idp
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, nats: loginstest.Start(t), provider: newIDP(t), log: &lines{}}
	nc, js := w.nats.Connect(t, nats.UserInfo("operator", "secret"))
	w.js = js
	o := Options{
		Settings: Settings{URL: "http://localhost", Issuer: w.provider.URL, ClientID: "dashboard", Project: "p"},
		JS:       js, Replicas: 1, NATSURL: nc.ConnectedUrl(), Registry: prometheus.NewRegistry(),
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelInfo})), Now: time.Now,
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if w.signIn, err = New(o); err != nil {
		t.Fatal(err)
	}
	tell := func(w http.ResponseWriter, _ *http.Request, n Notice) {
		w.WriteHeader(n.Code)
		_, _ = fmt.Fprint(w, n)
	}
	w.open = w.signIn.Handler(tell)
	w.closed = w.signIn.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, person.Of(r.Context()).Actor)
	}), tell)
	return w
}

// ask sends a request. header are names and values.
func ask(ctx context.Context, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// session stores a session of a person, as another replica does, and gives its cookie.
func (w *world) session(subject string) string {
	w.t.Helper()
	token := w.provider.token(subject)
	w.nats.Grant(token, "person-"+subject, nil)
	secret := session.NewSecret()
	if err := w.signIn.sessions.Put(w.t.Context(), secret, session.Session{Token: token, Subject: subject, Expires: time.Now().Add(time.Hour)}); err != nil {
		w.t.Fatal(err)
	}
	return SessionCookie + "=" + secret
}

// begin begins a sign-in, and gives the attempt's cookie and the address at the provider.
func (w *world) begin() (attempt string, at *url.URL) {
	w.t.Helper()
	answer := ask(w.t.Context(), w.open, http.MethodGet, signInPath+"?to=/devices")
	_, address, _ := strings.Cut(answer.Header().Get("Refresh"), "url=")
	at, err := url.Parse(address)
	if err != nil || answer.Code != http.StatusOK || len(answer.Result().Cookies()) != 1 {
		w.t.Fatalf("a sign-in begins by %d to %q: %v", answer.Code, address, err)
	}
	return attemptCookie + "=" + answer.Result().Cookies()[0].Value, at
}

// callback brings the provider's answer to an attempt.
func (w *world) callback(attempt string, at *url.URL) *httptest.ResponseRecorder {
	w.t.Helper()
	w.provider.set(func(p *idp) { p.nonce = at.Query().Get("nonce") })
	return ask(w.t.Context(), w.open, http.MethodGet, callbackPath+"?code=c&state="+url.QueryEscape(at.Query().Get("state")), "Cookie", attempt)
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// idp is an identity provider, by which ada signs in.
type idp struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu      sync.Mutex
	nonce   string // of the next id token
	broken  bool   // it answers by 500
	asked   map[string]int
	clients []string // how each request for tokens proved the client
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key, asked: map[string]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) set(f func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// ServeHTTP implements http.Handler.
func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	if p.broken {
		http.Error(w, "a fault inside", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}
	case "/keys":
		answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}}
	case "/token":
		by := "params"
		if _, _, ok := r.BasicAuth(); ok {
			by = "header"
		}
		p.clients = append(p.clients, by)
		answer = map[string]any{
			"access_token": p.token("ada"), "token_type": "Bearer", "expires_in": 3600,
			"id_token": p.sign(map[string]any{"iss": p.URL, "aud": "dashboard", "sub": "ada", "name": "Ada", "nonce": p.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}),
		}
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *idp) sign(claims map[string]any) string { return p.signAs("k", claims) }

// signAs signs by a key of that id.
func (p *idp) signAs(id string, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: id}}, nil)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// token is an access token of a person, always the same one.
func (p *idp) token(subject string) string { return p.sign(p.claims(subject)) }

func (p *idp) claims(subject string) map[string]any {
	return map[string]any{"iss": p.URL, "sub": subject, "exp": time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix()}
}

// secretFile is a file with an application's secret.
func secretFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("the-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
