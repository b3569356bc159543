package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// ErrUnusable says that what is kept is no checkpoint of the log as it is.
var ErrUnusable = errors.New("the checkpoint cannot be used")

// magic begins a checkpoint, with the version of its form.
const magic = "fleet-checkpoint 1 "

// header is the first line of a checkpoint, after the magic: of what the rest,
// which is fleet.Encode's, is the fold.
type header struct {
	Fold     uint64    `json:"fold"` // fleet.FoldVersion
	LogID    string    `json:"log"`
	Sequence uint64    `json:"sequence"`
	Recorded time.Time `json:"recorded"` // the time of that sequence in the log
	SHA256   string    `json:"sha256"`   // of the rest
}

// encode gives the content of a checkpoint.
func encode(logID string, v *fleet.View) ([]byte, error) {
	body, err := fleet.Encode(v)
	if err != nil {
		return nil, err
	}
	h, err := json.Marshal(header{
		Fold: fleet.FoldVersion, LogID: logID, Sequence: v.Sequence, Recorded: v.Recorded.UTC(), SHA256: digest(body),
	})
	if err != nil {
		return nil, fmt.Errorf("encode a checkpoint: %w", err)
	}
	return bytes.Join([][]byte{[]byte(magic), h, []byte("\n"), body}, nil), nil
}

// decode gives back the view. It fails with ErrUnusable where the content is
// damaged, or says that it is another checkpoint than p.
func decode(content []byte, p Key) (*fleet.View, error) {
	rest, ok := bytes.CutPrefix(content, []byte(magic))
	line, body, whole := bytes.Cut(rest, []byte("\n"))
	var h header
	if !ok || !whole || json.Unmarshal(line, &h) != nil {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrUnusable)
	}
	switch {
	case h.Fold != p.Fold || h.LogID != p.LogID || h.Sequence != p.Sequence:
		return nil, fmt.Errorf("%w: it is named %s and says that it is version %d of log %s at sequence %d", ErrUnusable, p.Name(), h.Fold, h.LogID, h.Sequence)
	case h.SHA256 != digest(body):
		return nil, fmt.Errorf("%w: its SHA-256 is %s, should be %s", ErrUnusable, digest(body), h.SHA256)
	}
	v, err := fleet.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if v.Sequence != h.Sequence || !v.Recorded.Equal(h.Recorded) {
		return nil, fmt.Errorf("%w: its view is at sequence %d of %s", ErrUnusable, v.Sequence, v.Recorded.Format(time.RFC3339Nano))
	}
	return v, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
