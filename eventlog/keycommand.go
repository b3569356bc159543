package eventlog

import (
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// KeyPhase is what command key asks a device to do with the key by which it gets its
// tokens. No private key is in a question or an answer.
type KeyPhase string

// The phases.
const (
	// KeyShow asks which key the device has.
	KeyShow KeyPhase = "show"
	// KeyCreate asks for the public half of a new pair. A pair that waits already is
	// given again.
	KeyCreate KeyPhase = "create"
	// KeyAdopt asks the device to use the new pair, under the id that the provider gave
	// its public half. The device does so only once the provider gave it a token for it.
	KeyAdopt KeyPhase = "adopt"
)

const (
	// KeyAdoptTimeout is how long a device tries to get a token for a new key, which a
	// provider may not show for some seconds, before it answers that it keeps the old
	// one.
	KeyAdoptTimeout = time.Minute
	// MaxKeyNonce is how many bytes a nonce may have.
	MaxKeyNonce = 64
)

// KeyRequest is the payload of command key.
type KeyRequest struct {
	Phase   KeyPhase  `json:"phase"`
	Nonce   string    `json:"nonce,omitempty"`  // for Proof; the asker's own
	KeyID   string    `json:"key_id,omitempty"` // adopt: what the provider gave the public half
	Expires time.Time `json:"expires,omitzero"` // adopt: when the provider lets the key end
}

// KeyAnswer is the answer to command key: which key the device has after it.
type KeyAnswer struct {
	DeviceID  string    `json:"device_id"`
	KeyID     string    `json:"key_id"`               // empty: it has none
	UserID    string    `json:"user_id"`              // of the machine user at the provider
	Expires   time.Time `json:"expires,omitzero"`     // omitted where the device does not know
	Pending   bool      `json:"pending"`              // a new pair waits for its id
	PublicKey string    `json:"public_key,omitempty"` // create: PKIX PEM
	// Proof is an assertion for the provider, signed by the key that the device has,
	// with the claims below: who holds a token of the device can answer in its place,
	// and cannot sign. Empty: the device has no key.
	Proof string `json:"proof,omitempty"`
	Busy  bool   `json:"busy,omitempty"`  // another request is in progress: ask again soon
	Error string `json:"error,omitempty"` // what it was asked to do is not done, and why
}

// Claims of KeyAnswer.Proof.
const (
	ClaimKeyNonce  = "fleet_nonce"      // KeyRequest.Nonce
	ClaimKeyPublic = "fleet_public_key" // KeyDigest of KeyAnswer.PublicKey
)

// KeyDigest is what a proof says of a public key.
func KeyDigest(publicKey string) string {
	sum := sha256.Sum256([]byte(publicKey))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
