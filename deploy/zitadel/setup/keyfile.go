package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/deploy/secretfile"
	"fleet.nationtech.io/deploy/zitadel"
)

// Names of the files in the directory of the keys.
const (
	calloutFile = "callout-key.json"
	accountFile = "enrolment-key.json"
)

// KeyFile is a key file, and how its key stands at the provider.
type KeyFile struct {
	Name    string // of the file
	ID      string // of its key; empty: there is no file
	Owner   string // user id or client id
	Written time.Time
	Expires time.Time // at the provider
	Stands  bool      // the provider has the key, and it is of the right owner
}

// step is what is done about the key.
func (k KeyFile) step(kind Kind, now time.Time) Step {
	s := Step{Kind: kind, Name: k.Name, Action: Make}
	switch {
	case k.ID == "":
	case !k.Stands:
		s.Why = "the provider did not know key " + k.ID
	case !k.Expires.IsZero() && !now.Before(k.Expires.Add(-renewBefore)):
		s.Why = "key " + k.ID + " ends at " + k.Expires.UTC().Format(time.RFC3339)
	default:
		s.Action, s.ID = Keep, k.ID
	}
	return s
}

// young says that the provider may not show the key yet.
func (k KeyFile) young(now time.Time) bool { return now.Sub(k.Written) < 2*zitadel.DefaultSettle }

// readKeyFile reads what a key file says of its key. Without a file it is all empty.
func readKeyFile(dir, name string) (KeyFile, error) {
	k := KeyFile{Name: name}
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return k, fmt.Errorf("read key file: %w", err)
	}
	var said struct {
		KeyID    string `json:"keyId"`
		UserID   string `json:"userId"`
		ClientID string `json:"clientId"`
	}
	// What the decoder quotes may be a part of the key.
	if json.Unmarshal(text, &said) != nil || said.KeyID == "" || said.UserID+said.ClientID == "" {
		return k, fmt.Errorf("%s is not a key file that the provider made: move it away, or give another directory by --out", path)
	}
	k.ID, k.Owner = said.KeyID, said.UserID+said.ClientID
	if info, err := os.Stat(path); err == nil {
		k.Written = info.ModTime()
	}
	return k, nil
}

// writeKeyFile writes a key file that its owner alone reads. One that was there is
// kept beside it: it may be another provider's.
func writeKeyFile(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	old, err := os.ReadFile(path)
	if err == nil {
		err = secretfile.Write(path+".old", old)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = secretfile.Write(path, text)
	}
	if err != nil {
		return fmt.Errorf("keep the key: %w", err)
	}
	return nil
}
