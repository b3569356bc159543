// Package authority is the certificate authority of a local fleet. It is made once,
// kept in the data directory, and signs the certificates of the fleet's servers.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"fleet.nationtech.io/deploy/secretfile"
)

const (
	caLife     = 10 // years
	serverLife = 90 * 24 * time.Hour
	// backdated is how far before its making a certificate begins to be valid, for
	// clients whose clock is a little behind.
	backdated = time.Hour

	caFile  = "ca.pem"
	keyFile = "ca-key.pem"

	typeCertificate = "CERTIFICATE"
	typeKey         = "PRIVATE KEY"
)

// Authority signs certificates for servers on this machine.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
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
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: a.cert.Raw})
}

func (a *Authority) read() error {
	text, err := os.ReadFile(a.File())
	if err != nil {
		return err
	}
	keyText, err := os.ReadFile(filepath.Join(a.dir, keyFile))
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(text, keyText)
	if err != nil {
		return fmt.Errorf("%s: %w; remove both files to make new ones", a.File(), err)
	}
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(crypto.Signer) // tls takes no other key
	return nil
}

func (a *Authority) make() error {
	cert, key, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "fleet-dev CA, for development"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().AddDate(caLife, 0, 0),
	})
	if err != nil {
		return err
	}
	a.cert, a.key = cert, key
	// The certificate comes last: without it, both are made again.
	if err := writeKey(filepath.Join(a.dir, keyFile), key); err != nil {
		return err
	}
	return secretfile.Write(a.File(), a.PEM())
}

// Server makes a certificate for a server on the loopback, and on more addresses, and
// writes it into two files of mode 0600, NAME.pem and NAME-key.pem.
func (a *Authority) Server(name string, more ...net.IP) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	cert, key, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, more...),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: time.Now().Add(serverLife),
	})
	if err == nil {
		err = errors.Join(writeKey(keyFile, key), secretfile.Write(certFile, pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: cert.Raw})))
	}
	if err != nil {
		return "", "", fmt.Errorf("certificate of %s: %w", name, err)
	}
	return certFile, keyFile, nil
}

// sign signs by the authority, or makes a certificate that signs itself where there
// is none yet.
func (a *Authority) sign(template *x509.Certificate) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-backdated)
	parent, by := template, crypto.Signer(key)
	if a.cert != nil {
		parent, by = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return secretfile.Write(file, pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}))
}
