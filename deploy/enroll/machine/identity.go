package machine

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const passphraseTries = 3

// identity is a private key in a file. One with a passphrase is opened once a server
// says that it would take it, and for all devices at once.
type identity struct {
	file   string
	public ssh.PublicKey
	open   func() (ssh.Signer, error)
}

var _ ssh.AlgorithmSigner = identity{}

func (i identity) PublicKey() ssh.PublicKey { return i.public }

func (i identity) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	s, err := i.open()
	if err != nil {
		return nil, err
	}
	return s.Sign(rand, data)
}

// SignWithAlgorithm is what RSA keys need, as servers take no SHA-1.
func (i identity) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := i.open()
	if err != nil {
		return nil, err
	}
	if a, ok := s.(ssh.AlgorithmSigner); ok {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return s.Sign(rand, data)
}

// identity reads a key file, once for all devices.
func (d *Dialer) identity(ctx context.Context, file string) (ssh.Signer, error) {
	d.identitiesLock.Lock()
	defer d.identitiesLock.Unlock()
	if s, ok := d.identities[file]; ok {
		return s, nil
	}
	s, err := d.readIdentity(ctx, file)
	if err != nil {
		return nil, err
	}
	d.identities[file] = s
	return s, nil
}

func (d *Dialer) readIdentity(ctx context.Context, file string) (ssh.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return s, nil
	case !errors.As(err, &locked):
		return nil, fmt.Errorf("%s is not a private key that can be read: %w", file, err)
	}
	unlock := sync.OnceValues(func() (ssh.Signer, error) { return d.unlock(ctx, file, text) })
	if locked.PublicKey == nil { // an old form that does not say it without the passphrase
		if locked.PublicKey = publicHalf(file); locked.PublicKey == nil {
			return unlock()
		}
	}
	return identity{file: file, public: locked.PublicKey, open: unlock}, nil
}

// publicHalf reads the public half that lies beside a private key.
func publicHalf(file string) ssh.PublicKey {
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		return nil
	}
	k, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return k
}

func (d *Dialer) unlock(ctx context.Context, file string, text []byte) (ssh.Signer, error) {
	for try := range passphraseTries {
		phrase, err := d.options.Secrets.Ask(ctx, Question{Kind: Passphrase, Of: file, Again: try > 0})
		if err != nil {
			return nil, fmt.Errorf("the key %s has a passphrase: %w; put it into an agent (ssh-add)", file, err)
		}
		s, err := ssh.ParsePrivateKeyWithPassphrase(text, []byte(phrase))
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fmt.Errorf("the key %s: %w", file, err)
		}
	}
	return nil, fmt.Errorf("the key %s: the passphrase is wrong", file)
}

// signers gives the keys that are shown to a hop: those that were named, then the
// agent's, then the usual files. A key that the agent has is not asked a passphrase for.
func (d *Dialer) signers(ctx context.Context, h hop, inAgent []ssh.Signer) ([]ssh.Signer, error) {
	var all []ssh.Signer
	has := func(k ssh.PublicKey) bool {
		for _, s := range all {
			if bytes.Equal(s.PublicKey().Marshal(), k.Marshal()) {
				return true
			}
		}
		return false
	}
	add := func(file string, named bool) error {
		if k := publicHalf(file); k != nil {
			for _, s := range inAgent {
				if bytes.Equal(s.PublicKey().Marshal(), k.Marshal()) && !has(k) {
					all = append(all, s)
					return nil
				}
			}
		}
		s, err := d.identity(ctx, file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !named, err == nil && has(s.PublicKey()):
			return nil
		case err != nil && named:
			return err
		case err != nil:
			return nil //nolint:nilerr // a usual file that is no key is not shown
		}
		all = append(all, s)
		return nil
	}
	for _, file := range h.identities {
		// What the configuration names need not be there; what a flag names is.
		if err := add(file, d.named(file)); err != nil {
			return nil, err
		}
	}
	if !h.identitiesOnly {
		for _, s := range inAgent {
			if !has(s.PublicKey()) {
				all = append(all, s)
			}
		}
	}
	for _, file := range h.defaults {
		if err := add(file, false); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// agentSigners gives the keys of the agent, where there is one. The connection must
// stay open while they sign.
func agentSigners(ctx context.Context, socket string) ([]ssh.Signer, io.Closer) {
	none := io.NopCloser(nil)
	if socket == "" {
		return nil, none
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, none
	}
	all, err := agent.NewClient(conn).Signers()
	if err != nil {
		_ = conn.Close()
		return nil, none
	}
	return all, conn
}
