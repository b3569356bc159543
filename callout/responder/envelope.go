// Package responder answers the auth callout's requests: it opens and decodes them,
// has them decided, newest first and within a deadline, and signs and seals the
// answers. What is decided it does not know.
package responder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/nacl/box"
)

const (
	sealVersion  = nkeys.XKeyVersionV1
	nonceBytes   = 24
	sealOverhead = len(sealVersion) + nonceBytes
	// maxPeers bounds the servers whose shared keys are kept: each start of a
	// server makes a key pair.
	maxPeers = 256
)

// curveKey opens and seals as nkeys' curve keys do. It keeps the key that it
// shares with each server: to make it takes longer than all else that sealing does.
type curveKey struct {
	public string
	secret [32]byte

	mu     sync.Mutex
	shared map[string]*[32]byte
}

func newCurveKey(seed []byte) (*curveKey, error) {
	pair, err := nkeys.FromCurveSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("the xkey's seed must be that of a curve key (SX…): %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, err
	}
	k := &curveKey{public: public, shared: map[string]*[32]byte{}}
	copy(k.secret[:], raw)
	return k, nil
}

func (k *curveKey) sharedWith(peer string) (*[32]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.shared[peer]; ok {
		return s, nil
	}
	raw, err := nkeys.Decode(nkeys.PrefixByteCurve, []byte(peer))
	if err != nil || len(raw) != 32 {
		return nil, errors.New("the server's xkey is no public curve key")
	}
	var s [32]byte
	box.Precompute(&s, (*[32]byte)(raw), &k.secret)
	if len(k.shared) >= maxPeers {
		clear(k.shared)
	}
	k.shared[peer] = &s
	return &s, nil
}

func (k *curveKey) open(sealed []byte, peer string) ([]byte, error) {
	if len(sealed) <= sealOverhead || string(sealed[:len(sealVersion)]) != sealVersion {
		return nil, errors.New("the request is not sealed as nkeys seal")
	}
	shared, err := k.sharedWith(peer)
	if err != nil {
		return nil, err
	}
	nonce := (*[nonceBytes]byte)(sealed[len(sealVersion):])
	plain, ok := box.OpenAfterPrecomputation(nil, sealed[sealOverhead:], nonce, shared)
	if !ok {
		return nil, fmt.Errorf("the request cannot be opened with the xkey %s", k.public)
	}
	return plain, nil
}

func (k *curveKey) seal(plain []byte, peer string) ([]byte, error) {
	shared, err := k.sharedWith(peer)
	if err != nil {
		return nil, err
	}
	var nonce [nonceBytes]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand ends the program rather
	out := make([]byte, 0, sealOverhead+len(plain)+box.Overhead)
	out = append(out, sealVersion...)
	out = append(out, nonce[:]...)
	return box.SealAfterPrecomputation(out, plain, &nonce, shared), nil
}
