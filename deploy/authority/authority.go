// Package authority is a certificate authority of a fleet's own, for where nobody else
// signs the certificates of its servers.
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
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	caLife = 10 // years
	// backdated is how far before its making a certificate begins to be valid, for
	// clients whose clock is a little behind.
	backdated = time.Hour

	typeCertificate = "CERTIFICATE"
	typeKey         = "PRIVATE KEY"
)

// Authority signs certificates.
type Authority struct {
	pair Pair
	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its key (PKCS #8), in PEM.
type Pair struct {
	Certificate, Key []byte
}

// New makes an authority that is valid for ten years.
func New(name string, now time.Time) (*Authority, error) {
	a := &Authority{}
	var err error
	a.cert, a.key, err = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: now.AddDate(caLife, 0, 0),
	}, now)
	if err == nil {
		a.pair, err = encode(a.cert, a.key)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", name, err)
	}
	return a, nil
}

// Parse reads an authority that New made, or any other whose key is at hand.
func Parse(p Pair) (*Authority, error) {
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if !pair.Leaf.IsCA {
		return nil, fmt.Errorf("certificate authority: the certificate of %q may not sign others", pair.Leaf.Subject.CommonName)
	}
	return &Authority{pair: p, cert: pair.Leaf, key: pair.PrivateKey.(crypto.Signer)}, nil // tls takes no other key
}

// Pair is the authority's own certificate and key.
func (a *Authority) Pair() Pair { return a.pair }

// Ends is when the authority's certificate ends.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter }

// Server is what a server is called and how long its certificate is valid.
type Server struct {
	Name  string   // its common name
	DNS   []string // names, also with a wildcard as the first label
	IPs   []net.IP
	Until time.Time
	// Client lets the server show the certificate to its peers as well, as servers of
	// one cluster do.
	Client bool
}

// Server makes a certificate for a server.
func (a *Authority) Server(s Server, now time.Time) (Pair, error) {
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if s.Client {
		usage = append(usage, x509.ExtKeyUsageClientAuth)
	}
	cert, key, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: s.Name}, DNSNames: s.DNS, IPAddresses: s.IPs,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, NotAfter: s.Until,
	}, now)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate of %s: %w", s.Name, err)
	}
	return encode(cert, key)
}

// sign signs by the authority, or makes a certificate that signs itself where there
// is none yet.
func (a *Authority) sign(template *x509.Certificate, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = now.Add(-backdated)
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

func encode(cert *x509.Certificate, key crypto.Signer) (Pair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: cert.Raw}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}),
	}, nil
}
