package machine

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// ErrHostKey says that a server's key is unknown, or not the one that it had.
var ErrHostKey = errors.New("the host key is not trusted")

// hostKeys decides whether a server is the one that a person means.
type hostKeys struct {
	hop  hop
	said error // of the last decision; the handshake's error loses it

	check      ssh.HostKeyCallback
	authority  bool // the files name certificate authorities
	algorithms []string
}

// newHostKeys reads the known hosts of a hop.
func newHostKeys(h hop) (*hostKeys, error) {
	k := &hostKeys{hop: h}
	var there []string
	for _, f := range h.knownHosts {
		content, err := os.ReadFile(f)
		if err != nil {
			continue // what cannot be read knows no host
		}
		there = append(there, f)
		k.authority = k.authority || bytes.Contains(content, []byte("@cert-authority"))
	}
	var err error
	if k.check, err = knownhosts.New(there...); err != nil {
		return nil, fmt.Errorf("read the known hosts: %w", err)
	}
	k.algorithms = k.known()
	return k, nil
}

// known gives the algorithms of the keys that are known of the host, so that the server
// shows one of those and not another, which would look like a changed key.
func (k *hostKeys) known() []string {
	strange, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	var unlike *knownhosts.KeyError
	if !errors.As(k.check(k.hop.hostKey, &net.TCPAddr{IP: net.IPv4zero}, strange), &unlike) || k.authority {
		return nil
	}
	var all []string
	for _, want := range unlike.Want {
		kinds := []string{want.Key.Type()}
		if kinds[0] == ssh.KeyAlgoRSA {
			kinds = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range kinds {
			if !slices.Contains(all, kind) {
				all = append(all, kind)
			}
		}
	}
	return all
}

// callback is asked about the key that the server shows.
func (d *Dialer) callback(k *hostKeys) ssh.HostKeyCallback {
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		d.hostKeysLock.Lock()
		defer d.hostKeysLock.Unlock()
		k.said = d.trust(k, remote, key)
		return k.said
	}
}

func (d *Dialer) trust(k *hostKeys, remote net.Addr, key ssh.PublicKey) error {
	err := k.check(k.hop.hostKey, remote, key)
	var unlike *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return fmt.Errorf("%w: %s:%d says that the key of %s is revoked", ErrHostKey, revoked.Revoked.Filename, revoked.Revoked.Line, k.hop.address)
	case !errors.As(err, &unlike):
		return fmt.Errorf("%w: %s: %w", ErrHostKey, k.hop.address, err)
	case len(unlike.Want) > 0:
		want := unlike.Want[0]
		return fmt.Errorf("%w: %s shows another key (%s %s) than the one in %s:%d. Somebody may stand in between; "+
			"or the device was set up again, and then: ssh-keygen -R '%s' -f %s",
			ErrHostKey, k.hop.address, key.Type(), ssh.FingerprintSHA256(key), want.Filename, want.Line, knownhosts.Normalize(k.hop.hostKey), want.Filename)
	case k.hop.acceptNew:
		return d.remember(k, key)
	}
	host, port, _ := net.SplitHostPort(k.hop.address)
	return fmt.Errorf("%w: %s is not in %s; it shows %s %s. Compare that on the device (ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub), "+
		"then add it: ssh-keyscan -p %s %s >> %s; or trust it at first sight: --accept-new-host-keys",
		ErrHostKey, k.hop.address, strings.Join(k.hop.knownHosts, " or "), key.Type(), ssh.FingerprintSHA256(key), keyWord(key), port, host, k.hop.knownHosts[0])
}

// keyWord is how sshd names the file of a key of this type.
func keyWord(key ssh.PublicKey) string {
	switch t := key.Type(); {
	case t == ssh.KeyAlgoED25519:
		return "ed25519"
	case strings.HasPrefix(t, "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}

// remember adds a new key to the first file of known hosts.
func (d *Dialer) remember(k *hostKeys, key ssh.PublicKey) error {
	file := k.hop.knownHosts[0]
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("remember the key of %s: %w", k.hop.address, err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("remember the key of %s: %w", k.hop.address, err)
	}
	defer f.Close()
	line := knownhosts.Line([]string{k.hop.hostKey}, key) + "\n"
	if size, err := f.Seek(0, 2); err == nil && size > 0 { // a person may have left the last line without an end
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("remember the key of %s: %w", k.hop.address, err)
	}
	d.options.Say(fmt.Sprintf("The host key of %s is new: %s %s. It is in %s now.", k.hop.address, key.Type(), ssh.FingerprintSHA256(key), file))
	return nil
}
