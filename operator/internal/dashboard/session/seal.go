package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	secretBytes = 32
	keyBytes    = 32 // AES-256
	keyInfo     = "fleet dashboard session, version 1"
)

// NewSecret makes what a browser keeps of a session: 32 random bytes, as text.
func NewSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // it never fails: crypto/rand says so
	return base64.RawURLEncoding.EncodeToString(b)
}

// ID is the name of a secret's session. It does not tell the secret.
func ID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// WellFormed says whether a text can be a secret at all.
func WellFormed(secret string) bool {
	if len(secret) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	return err == nil && len(b) == secretBytes
}

// seal encrypts a session by its secret (HKDF of RFC 5869, then AES-256-GCM), so that a
// reader of the bucket cannot use them.
func seal(secret string, s Session) ([]byte, error) {
	gcm, err := cipherOf(secret)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("seal a session: %w", err)
	}
	return gcm.Seal(nil, nil, plain, []byte(ID(secret))), nil
}

// open decrypts what seal made.
func open(secret string, sealed []byte) (Session, error) {
	gcm, err := cipherOf(secret)
	if err != nil {
		return Session{}, err
	}
	plain, err := gcm.Open(nil, nil, sealed, []byte(ID(secret)))
	if err != nil {
		return Session{}, errors.New("open a session: it is not this secret's")
	}
	var s Session
	if err := json.Unmarshal(plain, &s); err != nil {
		return Session{}, fmt.Errorf("open a session: %w", err)
	}
	return s, nil
}

func cipherOf(secret string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, keyInfo, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("key of a session: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of a session: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("key of a session: %w", err)
	}
	return gcm, nil
}
