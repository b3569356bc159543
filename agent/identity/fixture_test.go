package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// private is one key for all tests, since making one takes a while.
var private = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// writeKey writes a key file as Zitadel exports it.
func writeKey(t *testing.T, dir string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"type": "serviceaccount", "keyId": "1", "userId": "pi-01",
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private())})),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "zitadel-key.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
