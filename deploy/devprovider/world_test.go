package devprovider_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
)

const (
	organization = "3000"
	domain       = "acme.auth.example.org"
	project      = "3012"
	machine      = "pi-01"
)

// deviceScopes are those that a device asks for.
var deviceScopes = []string{
	"openid", "urn:zitadel:iam:org:project:id:" + project + ":aud", "urn:zitadel:iam:org:projects:roles", "urn:zitadel:iam:user:resourceowner",
}

// world is a provider that knows one machine user, with a key.
type world struct {
	*devprovider.Provider
	t   *testing.T
	key devprovider.KeyFile
}

func start(t *testing.T, o devprovider.Options) *world {
	t.Helper()
	w := run(t, o)
	w.AddOrganization(devprovider.Organization{ID: organization, Domain: domain})
	w.AddProject(project)
	w.AddProject("9999")
	w.user(devprovider.User{ID: machine, Username: "pi-01-name", Machine: true, TokenType: devprovider.JWT, Metadata: map[string]string{"device_id": "pi-01"}})
	w.must(w.GrantRole(machine, devprovider.Role{Project: project, Key: "device", Organization: organization}))
	w.key = w.keyOf(machine)
	return w
}

// run runs a provider that knows what its options say.
func run(t *testing.T, o devprovider.Options) *world {
	t.Helper()
	return &world{Provider: devprovidertest.Start(t, o), t: t}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) user(u devprovider.User) string {
	w.t.Helper()
	u.Organization = organization
	id, err := w.AddUser(u)
	w.must(err)
	return id
}

func (w *world) keyOf(user string) (f devprovider.KeyFile) {
	w.t.Helper()
	text, err := w.AddKey(user, time.Now().Add(time.Hour))
	w.must(err)
	w.must(json.Unmarshal(text, &f))
	return f
}

func (w *world) api(a devprovider.Application) string {
	w.t.Helper()
	id, err := w.AddApplication(a)
	w.must(err)
	return id
}

func private(t *testing.T, f devprovider.KeyFile) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(f.Key))
	k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// assertion signs claims with a key file's key.
func (w *world) assertion(f devprovider.KeyFile, claims jwt.MapClaims) string {
	w.t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = f.KeyID
	signed, err := token.SignedString(private(w.t, f))
	w.must(err)
	return signed
}

// right are the claims of an assertion that must be accepted.
func (w *world) right(user string) jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{"iss": user, "sub": user, "aud": w.Issuer(), "iat": now, "exp": now + 300}
}

type said struct {
	status  int
	Token   string `json:"access_token"`
	IDToken string `json:"id_token"`
	Refresh string `json:"refresh_token"`
	Expires int    `json:"expires_in"`
	Error   string `json:"error"`
	Active  bool   `json:"active"`
}

func (w *world) post(path string, form url.Values, basic ...string) (s said) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.Issuer()+path, strings.NewReader(form.Encode()))
	w.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(basic) == 2 {
		r.SetBasicAuth(basic[0], basic[1])
	}
	res, err := http.DefaultClient.Do(r)
	w.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	_ = json.Unmarshal(body, &s) // some refusals are text
	s.status = res.StatusCode
	return s
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	res, err := http.Get(w.Issuer() + path)
	w.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return res.StatusCode, string(body)
}

func (w *world) exchange(assertion string, scopes ...string) said {
	w.t.Helper()
	return w.post("/oauth/v2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}, "scope": {strings.Join(scopes, " ")},
	})
}

// token gets one for a user with a key file.
func (w *world) token(f devprovider.KeyFile, scopes ...string) string {
	w.t.Helper()
	s := w.exchange(w.assertion(f, w.right(f.UserID)), scopes...)
	if s.Token == "" {
		w.t.Fatalf("no token for %s: %+v", f.UserID, s)
	}
	return s.Token
}

// claims reads a token without judging it.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
