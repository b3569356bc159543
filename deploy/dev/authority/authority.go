// Package authority keeps the certificate authority of a local fleet: it is made once,
// kept in the data directory, and signs the certificates of the fleet's servers.
package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/secretfile"
)

const (
	serverLife = 90 * 24 * time.Hour

	caFile  = "ca.pem"
	keyFile = "ca-key.pem"
)

// Authority signs certificates for servers on this machine.
type Authority struct {
	dir string
	ca  *authority.Authority
}

// Load reads the authority from a directory (files of mode 0600), and makes it
// where there is none.
func Load(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	err := a.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = a.make()
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority of this fleet: %w", err)
	}
	return a, nil
}

// File is the authority's certificate in PEM, as ca_file and FLEET_NATS_CA name it.
func (a *Authority) File() string { return filepath.Join(a.dir, caFile) }

// PEM is what File holds.
func (a *Authority) PEM() []byte { return a.ca.Pair().Certificate }

func (a *Authority) read() error {
	cert, err := os.ReadFile(a.File())
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(a.dir, keyFile))
	if err != nil {
		return err
	}
	if a.ca, err = authority.Parse(authority.Pair{Certificate: cert, Key: key}); err != nil {
		return fmt.Errorf("%s: %w; remove both files to make new ones", a.File(), err)
	}
	return nil
}

func (a *Authority) make() error {
	var err error
	if a.ca, err = authority.New("fleet-dev CA, for development", time.Now()); err != nil {
		return err
	}
	// The certificate comes last: without it, both are made again.
	if err := secretfile.Write(filepath.Join(a.dir, keyFile), a.ca.Pair().Key); err != nil {
		return err
	}
	return secretfile.Write(a.File(), a.PEM())
}

// Server makes a certificate for a server on the loopback, and on more addresses, and
// writes it into two files of mode 0600, NAME.pem and NAME-key.pem.
func (a *Authority) Server(name string, more ...net.IP) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	now := time.Now()
	pair, err := a.ca.Server(authority.Server{
		Name: name, DNS: []string{"localhost"}, IPs: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, more...), Until: now.Add(serverLife),
	}, now)
	if err == nil {
		err = errors.Join(secretfile.Write(keyFile, pair.Key), secretfile.Write(certFile, pair.Certificate))
	}
	if err != nil {
		return "", "", fmt.Errorf("certificate of %s: %w", name, err)
	}
	return certFile, keyFile, nil
}
