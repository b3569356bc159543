package openid

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TypeServiceAccount is the type that the key file of a machine user says.
const TypeServiceAccount = "serviceaccount"

const (
	minKeyBits = 2048
	// assertionLife is short, since the provider takes an assertion as often as it
	// comes until it ends.
	assertionLife = time.Minute
)

// Key is a machine user's key, as Zitadel exports it in a file. Who made the pair
// itself, as a device may, composes the same file with its own private key.
type Key struct {
	ID      string
	UserID  string
	Ends    time.Time // zero: the file does not say
	Written time.Time // the file
	private *rsa.PrivateKey
}

// Public is the half of the key that the provider has.
func (k *Key) Public() *rsa.PublicKey { return &k.private.PublicKey }

// ReadKey reads a key file.
func ReadKey(path string) (*Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	k, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil {
		k.Written = info.ModTime()
	}
	return k, nil
}

// ParseKey reads what a key file has. Its errors show nothing of it.
func ParseKey(text []byte) (*Key, error) {
	var file struct {
		Type           string    `json:"type"`
		KeyID          string    `json:"keyId"`
		Key            string    `json:"key"`
		UserID         string    `json:"userId"`
		ExpirationDate time.Time `json:"expirationDate"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		// What the decoder quotes may be a part of the key.
		return nil, errors.New("it is not the JSON file that the provider exports")
	}
	switch {
	case file.Type != TypeServiceAccount:
		return nil, fmt.Errorf("its type is %.40q, and the key of a machine user (type %q) is needed", file.Type, TypeServiceAccount)
	case file.KeyID == "" || file.UserID == "":
		return nil, errors.New("it lacks keyId or userId")
	}
	private, err := parsePrivate(file.Key)
	if err != nil {
		return nil, err
	}
	return &Key{ID: file.KeyID, UserID: file.UserID, Ends: file.ExpirationDate, private: private}, nil
}

// parsePrivate takes PKCS#1, as Zitadel writes it, and PKCS#8, as others do.
func parsePrivate(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("its key is not PEM")
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its key (PEM block %.40q) is neither PKCS#1 nor PKCS#8", block.Type)
		}
		var ok bool
		if private, ok = parsed.(*rsa.PrivateKey); !ok {
			return nil, errors.New("its key is not RSA, which the provider's machine keys are")
		}
	}
	if private.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("its key has %d bits, and the provider takes no less than %d", private.N.BitLen(), minKeyBits)
	}
	return private, nil
}

// Assertion signs what the machine user shows to the provider (RFC 7523, section 3),
// with claims of one's own that the provider passes over. The provider refuses one from
// over a second ahead, so it is dated a second back.
func (k *Key) Assertion(issuer string, now time.Time, own map[string]any) (string, error) {
	claims := jwt.MapClaims{
		"iss": k.UserID, "sub": k.UserID, "aud": issuer,
		"iat": now.Add(-time.Second).Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	for name, value := range own {
		if _, taken := claims[name]; !taken {
			claims[name] = value
		}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = k.ID
	signed, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return signed, nil
}
