package eventlog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gowebpki/jcs"
)

// Score is a ReconcileScore: a tagged description of what a device should run.
// The log does not look into Data; an unknown Type is kept, and refused with a
// reason by anyone who would have to act on it.
type Score struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Canonical gives the score's canonical JSON (RFC 8785), the bytes that the log
// and the bucket hold, so that its hash does not depend on who encoded it. It
// fails on a score without a type, on data that is not JSON, and on a number that
// the form cannot carry exactly.
func (s Score) Canonical() ([]byte, error) {
	if s.Type == "" {
		return nil, errors.New("score has no type")
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode score: %w", err)
	}
	if err := checkNumbers("score", raw); err != nil {
		return nil, err
	}
	c, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("canonical form of score (RFC 8785): %w", err)
	}
	return c, nil
}

// DecodeScore reads a desired value. It fails on what is not a tagged object.
func DecodeScore(b []byte) (Score, error) {
	var s Score
	if err := json.Unmarshal(b, &s); err != nil {
		return Score{}, fmt.Errorf("decode score: %w", err)
	}
	if s.Type == "" {
		return Score{}, errors.New("decode score: field \"type\" is missing")
	}
	return s, nil
}

// Hash is the identity of a desired value: "sha256:" and the hex digest of its
// bytes as they stand in the log.
func Hash(b []byte) string {
	d := sha256.Sum256(b)
	return hashPrefix + hex.EncodeToString(d[:])
}

const hashPrefix = "sha256:"

// IsHash says whether a text has the form that Hash gives.
func IsHash(s string) bool {
	digest, ok := strings.CutPrefix(s, hashPrefix)
	return ok && len(digest) == hex.EncodedLen(sha256.Size) && strings.Trim(digest, "0123456789abcdef") == ""
}
