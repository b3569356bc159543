package rotate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
)

// Issuer says whether a machine user's key, which stands at the provider, signed an
// assertion.
type Issuer interface {
	Accepts(ctx context.Context, assertion string) error
}

// Assertions asks a provider for tokens by assertions: it gives one only where the key
// of the assertion's user signed it. It may be used for several devices at once.
type Assertions struct {
	connect func() *openid.Provider

	mu   sync.Mutex
	idle []*openid.Provider // each is for one goroutine
}

var _ Issuer = (*Assertions)(nil)

// NewAssertions wires it. connect gives a provider of its own for each device that is
// asked at once.
func NewAssertions(connect func() *openid.Provider) *Assertions { return &Assertions{connect: connect} }

// Accepts implements Issuer. The token, which is for no project, is dropped.
func (a *Assertions) Accepts(ctx context.Context, assertion string) error {
	a.mu.Lock()
	var p *openid.Provider
	if n := len(a.idle); n > 0 {
		p, a.idle = a.idle[n-1], a.idle[:n-1]
	}
	a.mu.Unlock()
	if p == nil {
		p = a.connect()
	}
	_, err := p.ByAssertion(ctx, assertion, []string{"openid"})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = append(a.idle, p)
	return err
}

// Times for a proof: a provider may not show a key for some seconds at each of its
// replicas, and an assertion lives a minute.
const (
	proofTries = 6
	proofPause = 2 * time.Second
)

// prove checks that the key of which an answer speaks is the device's, and signed this
// answer to this question. Who holds a token of the device, and the owner of a NATS
// server, can answer in its place, and cannot sign.
func (r *Rotator) prove(ctx context.Context, device string, q eventlog.KeyRequest, a eventlog.KeyAnswer) error {
	if r.options.Unproven {
		return nil
	}
	if err := says(device, q, a); err != nil {
		return fmt.Errorf("the device does not prove that it has key %.80q: %w", a.KeyID, err)
	}
	for try := 1; ; try++ {
		err := r.options.Issuer.Accepts(ctx, a.Proof)
		var no *openid.Refusal
		switch {
		case err == nil:
			return nil
		case try == proofTries || errors.As(err, &no) && no.Status < 500 && no.Code != "invalid_grant" || ctx.Err() != nil:
			return fmt.Errorf("the device does not prove that it has key %.80q, which may have ended or been removed: enrol it again: %w", a.KeyID, err)
		}
		pause.For(ctx, proofPause)
	}
}

// says checks what a proof says, and not who signed it.
func says(device string, q eventlog.KeyRequest, a eventlog.KeyAnswer) error {
	claims, ok := openid.ReadClaims(a.Proof)
	if !ok {
		return errors.New("its answer holds no proof")
	}
	head, _, _ := strings.Cut(a.Proof, ".")
	var header struct {
		KeyID string `json:"kid"`
	}
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(text, &header) != nil || header.KeyID != a.KeyID {
		return fmt.Errorf("its proof is by key %.80q", header.KeyID)
	}
	for name, want := range map[string]string{
		"iss": device, "sub": device, eventlog.ClaimKeyNonce: q.Nonce, eventlog.ClaimKeyPublic: eventlog.KeyDigest(a.PublicKey),
	} {
		if got, _ := claims[name].(string); got != want {
			return fmt.Errorf("its proof has %s %.80q, and %.80q is needed", name, got, want)
		}
	}
	return nil
}
