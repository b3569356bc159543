package token

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	maxKeys     = 64   // of one provider; the rest is not used
	minRSABits  = 2048 // NIST SP 800-131A
	maxKeyIDLen = 256
)

// keyset is what the provider published at one moment.
type keyset struct {
	byID map[string]jwkset.JWK
	all  []jwkset.JWK
	read time.Time
}

// errNoUsableKey says that a provider's answer has no key by which one of the
// allowed algorithms can be verified. It never replaces keys that are.
var errNoUsableKey = errors.New("the provider's answer has no usable signing key")

// parseKeys reads a JWK set (RFC 7517). What cannot verify is left out: private and
// symmetric keys, keys for encryption, keys without an id or for an algorithm that
// is not allowed.
func parseKeys(body []byte, algorithms []string, read time.Time) (*keyset, error) {
	var published struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &published); err != nil {
		return nil, fmt.Errorf("the provider's answer is no JWK set: %w", err)
	}
	s := &keyset{byID: map[string]jwkset.JWK{}, read: read}
	unusable := map[string]int{}
	for _, raw := range published.Keys {
		if len(s.all) == maxKeys {
			break
		}
		key, why := usable(raw, algorithms)
		id := key.Marshal().KID
		if _, twice := s.byID[id]; why == "" && twice {
			why = "two keys have one kid"
		}
		if why != "" {
			unusable[why]++
			continue
		}
		s.byID[id] = key
		s.all = append(s.all, key)
	}
	if len(s.all) == 0 {
		return nil, fmt.Errorf("%w: %d keys, not usable for: %v", errNoUsableKey, len(published.Keys), unusable)
	}
	return s, nil
}

// usable gives a key, or why it cannot be used.
func usable(raw json.RawMessage, algorithms []string) (jwkset.JWK, string) {
	key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, "it is no public key"
	}
	m := key.Marshal()
	switch {
	case m.USE != "" && m.USE != jwkset.UseSig:
		return key, "its use is not sig"
	case m.KID == "" || len(m.KID) > maxKeyIDLen:
		return key, "it has no kid"
	case m.ALG != "" && !slices.Contains(algorithms, m.ALG.String()):
		return key, "its algorithm is not allowed"
	}
	if k, ok := key.Key().(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
		return key, "it is an RSA key of less than 2048 bits"
	}
	return key, ""
}
