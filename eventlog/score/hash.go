package score

import (
	"fmt"

	"github.com/gowebpki/jcs"

	"fleet.nationtech.io/eventlog"
)

// serviceHash is the SHA-256 of the canonical JSON (RFC 8785) of a service's
// part of the score. Fields that this agent does not know are in it, so that an
// agent's upgrade alone replaces no container.
func serviceHash(raw []byte) (string, error) {
	canonical, err := jcs.Transform(raw)
	if err != nil {
		return "", fmt.Errorf("canonical form (RFC 8785): %w", err)
	}
	return eventlog.Hash(canonical), nil
}
