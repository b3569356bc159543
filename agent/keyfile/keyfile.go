// Package keyfile keeps a device's own key in files: it makes the pair, whose private
// half never leaves the device, and composes the key file once the provider has given
// the public half an id.
//
// Guarantees:
//   - A private key is never in a file that others than its owner can read.
//   - The key file is replaced at once or not at all: who reads it after a power cut
//     finds the old key or the new one.
//   - Create gives out a pair that waits for its id again, so that what was broken off
//     goes on. It never gives out a pair that was adopted.
package keyfile

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"fleet.nationtech.io/agent/openid"
)

const (
	keyBits       = 2048 // what the provider's machine keys have (ZITADEL.md, section 3)
	pendingSuffix = ".pending"
	pemPrivate    = "RSA PRIVATE KEY"
	pemPublic     = "PUBLIC KEY"
	maxID         = 200 // bytes; the provider's ids have far fewer
)

// Errors that callers branch on.
var (
	// ErrNone says that there is no key file.
	ErrNone = errors.New("there is no key file")
	// ErrNoPending says that no pair waits for its id.
	ErrNoPending = errors.New("no key waits for its id")
)

// File is a device's key file, and beside it the key that waits for its id.
type File struct{ path string }

// At gives the key file of a path. It touches nothing.
func At(path string) File { return File{path} }

// Path is where the key file is.
func (f File) Path() string { return f.path }

// Pending is where the private half waits until the public half has an id.
func (f File) Pending() string { return f.path + pendingSuffix }

// Create makes a pair, keeps its private half as the pending one, and gives its
// public half as PKIX PEM. A pending pair that is there already is used again.
func (f File) Create() (public []byte, err error) {
	private, err := f.pending()
	switch {
	case err == nil && !f.adopted(private):
		return encodePublic(private)
	case err != nil && !errors.Is(err, ErrNoPending) && !errors.Is(err, errDamaged):
		return nil, err
	case err == nil || errors.Is(err, errDamaged): // of no use to anybody
		if err := os.Remove(f.Pending()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, explain("remove the pending key", f.path, err)
		}
	}
	if private, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: x509.MarshalPKCS1PrivateKey(private)})
	err = place(f.Pending(), text, os.Link) // and not Rename: a pair that another process made meanwhile stays
	if errors.Is(err, fs.ErrExist) {
		if private, err = f.pending(); err != nil {
			return nil, err
		}
		return encodePublic(private)
	}
	if err != nil {
		return nil, explain("keep the new key", f.path, err)
	}
	return encodePublic(private)
}

// adopted says whether the key file holds this very key: the pending one was left
// behind by a power cut.
func (f File) adopted(private *rsa.PrivateKey) bool {
	k, err := openid.ReadKey(f.path)
	return err == nil && k.Public().Equal(private.Public())
}

var errDamaged = errors.New("it is not an RSA key in PEM")

// pending reads the pair that waits. It fails with ErrNoPending where there is none,
// and with errDamaged where it cannot be used.
func (f File) pending() (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(f.Pending())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (%s is not there)", ErrNoPending, f.Pending())
	}
	if err != nil {
		return nil, explain("read the pending key", f.path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPrivate {
		return nil, fmt.Errorf("pending key %s: %w", f.Pending(), errDamaged)
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil || private.N.BitLen() < keyBits {
		return nil, fmt.Errorf("pending key %s: %w", f.Pending(), errDamaged)
	}
	return private, nil
}

func encodePublic(private *rsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encode the public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

// Adoption is what the provider said of a public key.
type Adoption struct {
	KeyID   string
	UserID  string
	Expires time.Time
}

// check refuses what no provider says.
func (a Adoption) check() error {
	for _, id := range []struct{ what, text string }{{"key id", a.KeyID}, {"user id", a.UserID}} {
		if id.text == "" || len(id.text) > maxID || strings.ContainsFunc(id.text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%s %.40q must be 1 to %d letters, digits and signs, as the provider gave it", id.what, id.text, maxID)
		}
	}
	if a.Expires.IsZero() {
		return errors.New("the key's end is missing: give it as 2028-11-28T00:00:00Z")
	}
	return nil
}

// Candidate is a key file that is composed and does not hold yet.
type Candidate struct {
	// Key is what the file will hold.
	Key  *openid.Key
	file File
	at   string // where it waits; empty: the key file holds it already
}

// Prepare composes the key file out of the pending pair, beside the one that holds.
// Where the key file has that key already, there is nothing left to do, and Install
// does nothing. It fails with ErrNoPending where no pair waits.
func (f File) Prepare(a Adoption) (*Candidate, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if k, err := openid.ReadKey(f.path); err == nil && k.ID == a.KeyID && k.UserID == a.UserID {
		return &Candidate{Key: k, file: f}, nil
	}
	private, err := f.pending()
	if err != nil {
		return nil, fmt.Errorf("%w: make one with fleet-agent key create, and let the provider give its public half an id", err)
	}
	if f.adopted(private) { // under another id: two ids for one key would both have to be removed
		return nil, fmt.Errorf("%w: the key file holds this key under another id: make a new one with fleet-agent key create", ErrNoPending)
	}
	text, err := encodeFile(private, a)
	if err != nil {
		return nil, err
	}
	at, err := beside(f.path, text)
	if err != nil {
		return nil, explain("write the key file", f.path, err)
	}
	k, err := openid.ReadKey(at)
	if err != nil {
		_ = os.Remove(at) // it holds nothing yet
		return nil, fmt.Errorf("compose the key file: %w", err)
	}
	return &Candidate{Key: k, file: f, at: at}, nil
}

// Installed says whether the key file holds this key already.
func (c *Candidate) Installed() bool { return c.at == "" }

// Install puts the candidate into the key file's place, and takes the pending pair
// away.
func (c *Candidate) Install() error {
	if c.at != "" {
		if err := install(c.at, c.file.path, os.Rename); err != nil {
			return explain("replace the key file", c.file.path, err)
		}
		c.at = ""
	}
	private, err := c.file.pending()
	if err != nil || !c.Key.Public().Equal(private.Public()) {
		return nil //nolint:nilerr // there is none, or it is another pair, made later
	}
	if err := os.Remove(c.file.Pending()); err != nil {
		return explain("remove the pending key, which the key file holds now", c.file.path, err)
	}
	return nil
}

// Discard takes a candidate away that shall not hold. The pending pair stays.
func (c *Candidate) Discard() {
	if c.at != "" {
		_ = os.Remove(c.at) // it holds nothing
		c.at = ""
	}
}

// Adopt replaces the key file by one with the pending pair, and keeps no pending one.
// It is a success where the key file has that key already.
func (f File) Adopt(a Adoption) error {
	c, err := f.Prepare(a)
	if err != nil {
		return err
	}
	defer c.Discard()
	return c.Install()
}

// Standing is what a device has of keys.
type Standing struct {
	KeyID   string    `json:"key_id"`
	UserID  string    `json:"user_id"`
	Expires time.Time `json:"expires,omitzero"` // omitted where the file does not say
	Pending bool      `json:"pending"`          // a pair waits for its id
}

// Show says what is there. It fails with ErrNone where there is no key file; then
// only Pending is said.
func (f File) Show() (Standing, error) {
	var s Standing
	private, err := f.pending()
	if err != nil && !errors.Is(err, ErrNoPending) && !errors.Is(err, errDamaged) {
		return s, err
	}
	s.Pending = err == nil && !f.adopted(private)
	k, err := openid.ReadKey(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%w at %s: this device is not enrolled with a key", ErrNone, f.path)
	}
	if err != nil {
		return s, err
	}
	s.KeyID, s.UserID, s.Expires = k.ID, k.UserID, k.Ends
	return s, nil
}

// encodeFile writes a key file as Zitadel exports it.
func encodeFile(private *rsa.PrivateKey, a Adoption) ([]byte, error) {
	text, err := json.MarshalIndent(struct {
		Type           string    `json:"type"`
		KeyID          string    `json:"keyId"`
		Key            string    `json:"key"`
		ExpirationDate time.Time `json:"expirationDate"`
		UserID         string    `json:"userId"`
	}{
		Type: openid.TypeServiceAccount, KeyID: a.KeyID, UserID: a.UserID, ExpirationDate: a.Expires.UTC(),
		Key: string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: x509.MarshalPKCS1PrivateKey(private)})),
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the key file: %w", err)
	}
	return append(text, '\n'), nil
}
