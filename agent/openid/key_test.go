package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// private is one key for all tests, since making one takes a while.
var private = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		panic(err)
	}
	return k
})

func pkcs1() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private())}))
}

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func keyFile(members map[string]any) []byte {
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return b
}

func TestAKeyFileIsReadAsZitadelExportsIt(t *testing.T) {
	t.Parallel()
	ends := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		members map[string]any
		ends    time.Time
	}{
		"as it is exported": {map[string]any{
			"type": "serviceaccount", "keyId": "1", "key": pkcs1(), "userId": "pi-01", "expirationDate": "2030-01-01T00:00:00Z",
		}, ends},
		"an older one, without its end":       {map[string]any{"type": "serviceaccount", "keyId": "1", "key": pkcs1(), "userId": "pi-01"}, time.Time{}},
		"a key of our own, in PKCS#8":         {map[string]any{"type": "serviceaccount", "keyId": "1", "key": pkcs8(private()), "userId": "pi-01"}, time.Time{}},
		"with a member that nobody knows yet": {map[string]any{"type": "serviceaccount", "keyId": "1", "key": pkcs1(), "userId": "pi-01", "x": 1}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := ParseKey(keyFile(tc.members))
			if err != nil {
				t.Fatal(err)
			}
			if k.ID != "1" || k.UserID != "pi-01" || !k.Ends.Equal(tc.ends) || !k.private.Equal(private()) {
				t.Errorf("key %s of %s, ends %v", k.ID, k.UserID, k.Ends)
			}
		})
	}
}

func TestAKeyFileThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text []byte
		says string
	}{
		"no JSON, which may be the key alone": {[]byte(pkcs1()), "not the JSON file"},
		"the key of an application":           {keyFile(map[string]any{"type": "application", "keyId": "1", "key": pkcs1(), "clientId": "2"}), "machine user"},
		"no user":                             {keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "key": pkcs1()}), "userId"},
		"no PEM":                              {keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "userId": "2", "key": "x"}), "not PEM"},
		"a certificate":                       {keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "userId": "2", "key": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}), "neither PKCS#1 nor PKCS#8"},
		"an elliptic curve":                   {keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "userId": "2", "key": pkcs8(curve)}), "not RSA"},
		"a small key":                         {keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "userId": "2", "key": pkcs8(small)}), "1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseKey(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v does not say %q", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "BEGIN RSA") {
				t.Error("the error shows the key")
			}
		})
	}
	if _, err := ReadKey(filepath.Join(t.TempDir(), "none")); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestAnAssertionHasWhatTheProviderAsksFor(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	signed, err := testKey(t).Assertion("https://auth.example.org", now, map[string]any{"nonce": "n", "sub": "another"})
	if err != nil {
		t.Fatal(err)
	}
	read, err := jwt.Parse(signed, func(*jwt.Token) (any, error) { return private().Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil {
		t.Fatal(err)
	}
	want := jwt.MapClaims{
		"iss": "pi-01", "sub": "pi-01", "aud": "https://auth.example.org", "iat": 1_799_999_999.0, "exp": 1_800_000_060.0, "nonce": "n",
	}
	if diff := cmp.Diff(want, read.Claims); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
	if read.Header["kid"] != "1" {
		t.Errorf("kid %v", read.Header["kid"])
	}
}

func testKey(t *testing.T) *Key {
	t.Helper()
	k, err := ReadKey(writeKey(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func writeKey(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "zitadel-key.json")
	text := keyFile(map[string]any{"type": "serviceaccount", "keyId": "1", "key": pkcs1(), "userId": "pi-01"})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
