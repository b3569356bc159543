package devprovider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// keyring has the keys that the provider signs with; the last one signs.
type keyring struct {
	mu   sync.Mutex
	next int
	all  []signingKey
}

type signingKey struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

var (
	_ op.SigningKey = signingKey{}
	_ op.Key        = publishedKey{}
)

// ID implements op.SigningKey.
func (k signingKey) ID() string { return k.id }

// SignatureAlgorithm implements op.SigningKey.
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }

// Key implements op.SigningKey.
func (k signingKey) Key() any { return k.private }

// publishedKey is the half of a key that everybody may see.
type publishedKey struct{ signingKey }

// Algorithm implements op.Key.
func (k publishedKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }

// Use implements op.Key.
func (k publishedKey) Use() string { return "sig" }

// Key implements op.Key.
func (k publishedKey) Key() any { return k.private.Public() }

// RotateKey replaces the key that signs tokens. With overlap the one before stays
// published, so that tokens it signed still verify; older ones never do. The
// algorithm is RS256, ES256 or EdDSA.
func (p *Provider) RotateKey(algorithm string, overlap bool) error {
	return p.keys.rotate(jose.SignatureAlgorithm(algorithm), overlap)
}

func (r *keyring) rotate(algorithm jose.SignatureAlgorithm, overlap bool) error {
	var private crypto.Signer
	var err error
	switch algorithm {
	case jose.RS256:
		private, err = rsa.GenerateKey(rand.Reader, keyBits)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return fmt.Errorf("algorithm %q must be RS256, ES256 or EdDSA", algorithm)
	}
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	kept := r.all[max(0, len(r.all)-1):]
	if !overlap {
		kept = nil
	}
	r.all = append(append([]signingKey{}, kept...), signingKey{id: fmt.Sprintf("signing-%d", r.next), algorithm: algorithm, private: private})
	return nil
}

func (r *keyring) current() signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

func (r *keyring) published() []op.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []op.Key
	for _, k := range r.all {
		all = append(all, publishedKey{k})
	}
	return all
}
