package devprovider

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const keyBits = 2048

// KeyFile is what Zitadel lets one download, once.
type KeyFile struct {
	Type           string     `json:"type"`
	KeyID          string     `json:"keyId"`
	Key            string     `json:"key"`
	ExpirationDate *time.Time `json:"expirationDate,omitempty"`
	UserID         string     `json:"userId,omitempty"`
	AppID          string     `json:"appId,omitempty"`
	ClientID       string     `json:"clientId,omitempty"`
}

// AddKey makes a key for a machine user and gives its key file. The provider
// keeps the public half alone.
func (p *Provider) AddKey(userID string, ends time.Time) ([]byte, error) {
	d := p.directory
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users[userID] == nil {
		return nil, fmt.Errorf("user %s: %w", userID, ErrNotFound)
	}
	return encodeKey(private, KeyFile{Type: "serviceaccount", KeyID: d.addKey(userID, &private.PublicKey, ends), UserID: userID, ExpirationDate: date(ends)})
}

// AddPublicKey takes the public half of a key that the device made itself, as
// PEM (BEGIN PUBLIC KEY), and gives its key id.
func (p *Provider) AddPublicKey(userID string, text []byte, ends time.Time) (keyID string, err error) {
	public, err := parsePublic(text)
	if err != nil {
		return "", err
	}
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users[userID] == nil {
		return "", fmt.Errorf("user %s: %w", userID, ErrNotFound)
	}
	return d.addKey(userID, public, ends), nil
}

func parsePublic(text []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("the public key must be PEM with BEGIN PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the public key must be RSA")
	}
	return public, nil
}

// AddApplicationKey makes a key for an API and gives its key file.
func (p *Provider) AddApplicationKey(clientID string, ends time.Time) ([]byte, error) {
	d := p.directory
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.applications[clientID]
	if !ok {
		return nil, fmt.Errorf("client %s: %w", clientID, ErrNotFound)
	}
	return encodeKey(private, KeyFile{Type: "application", KeyID: d.addKey(clientID, &private.PublicKey, ends), AppID: a.ID, ClientID: clientID, ExpirationDate: date(ends)})
}

// HasKey says whether a user or an application has a key that holds now.
func (p *Provider) HasKey(keyID, owner string) bool {
	_, ok := p.directory.key(keyID, owner)
	return ok
}

// RemoveKey takes a key away.
func (p *Provider) RemoveKey(keyID string) error {
	d := p.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[keyID] == nil {
		return fmt.Errorf("key %s: %w", keyID, ErrNotFound)
	}
	delete(d.keys, keyID)
	return nil
}

// addKey keeps a public key. mu is held.
func (d *directory) addKey(owner string, k *rsa.PublicKey, ends time.Time) (id string) {
	id = d.id()
	now := time.Now()
	d.keys[id] = &publicKey{owner: owner, key: k, made: now, ends: ends, seen: now.Add(d.lag)}
	return id
}

// key finds the key of an owner that holds now.
func (d *directory) key(id, owner string) (*rsa.PublicKey, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.keys[id]
	now := time.Now()
	if k == nil || k.owner != owner || now.Before(k.seen) || !k.ends.IsZero() && !now.Before(k.ends) {
		return nil, false
	}
	return k.key, true
}

func encodeKey(k *rsa.PrivateKey, f KeyFile) ([]byte, error) {
	f.Key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the key file: %w", err)
	}
	return b, nil
}

func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
