package accounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/deploy/secretfile"
)

const (
	// authorizationTimeout is how long a server waits for the callout, under TLS too.
	// nats.go cannot wait for longer than 2 s: the server's first PING comes then.
	authorizationTimeout = 1800 * time.Millisecond
	// maxDeviceSubscriptions bounds one connection of a device, which needs four.
	maxDeviceSubscriptions = 64
)

// Callout is how the servers reach the auth callout, and as whom it logs in.
type Callout struct {
	Issuer string `json:"issuer"` // public account key; the callout has its seed
	XKey   string `json:"xkey"`   // public curve key; the callout has its seed

	Answers Login `json:"answers"` // in account AUTH
	Log     Login `json:"log"`     // in account FLEET
	System  Login `json:"system"`  // in the system account
}

// Users of the callout, as fleet-callout expects them.
const (
	CalloutUser       = "callout"
	CalloutLogUser    = "callout-fleet"
	CalloutSystemUser = "callout-sys"
)

// Files of the callout's secrets.
const (
	IssuerSeedFile = "callout-issuer.seed"
	XKeySeedFile   = "callout-xkey.seed"
)

func (c *Callout) check() error {
	if !nkeys.IsValidPublicAccountKey(c.Issuer) {
		return fmt.Errorf("the callout's issuer %q must be a public account key (A…)", c.Issuer)
	}
	if !nkeys.IsValidPublicCurveKey(c.XKey) {
		return fmt.Errorf("the callout's xkey %q must be a public curve key (X…): requests would carry tokens in clear", c.XKey)
	}
	return nil
}

// isIdentity says whether a user's name is one that a token makes.
func isIdentity(user string) bool {
	for _, k := range []identity.Kind{identity.Device, identity.Person, identity.Service} {
		if strings.HasPrefix(user, string(k)+"-") {
			return true
		}
	}
	return false
}

// LoadCalloutKeys reads the callout's seeds from a directory (mode 0600), makes
// those that are not there, and gives their public keys.
func LoadCalloutKeys(dir string) (issuer, xkey string, err error) {
	if issuer, err = loadSeed(filepath.Join(dir, IssuerSeedFile), nkeys.CreateAccount); err != nil {
		return "", "", err
	}
	xkey, err = loadSeed(filepath.Join(dir, XKeySeedFile), nkeys.CreateCurveKeys)
	return issuer, xkey, err
}

func loadSeed(file string, create func() (nkeys.KeyPair, error)) (public string, err error) {
	var pair nkeys.KeyPair
	seed, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if pair, err = create(); err != nil {
			return "", err
		}
		if seed, err = pair.Seed(); err == nil {
			err = secretfile.Write(file, seed)
		}
	case err == nil && strings.HasPrefix(string(seed), "SX"):
		pair, err = nkeys.FromCurveSeed(seed)
	case err == nil:
		pair, err = nkeys.FromSeed(seed)
	}
	if err != nil {
		return "", fmt.Errorf("secret of the auth callout: %s: %w", file, err)
	}
	return pair.PublicKey()
}
