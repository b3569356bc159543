package clustertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lifetime of a node's keys. No test runs for so long.
const lifetime = 24 * time.Hour

// keyring makes the keys of one cluster: its authority and what that one signs.
type keyring struct {
	dir  string
	ca   *x509.Certificate
	key  crypto.Signer
	pem  []byte
	next int64
}

// Certificate is a key with its certificate, and the certificate of who signed it, in PEM.
type Certificate struct{ Certificate, Key, CA []byte }

// Sign makes a certificate for a server and a client of these names, signed by the
// cluster's own authority.
func (n *Node) Sign(names []string, addresses ...netip.Addr) (Certificate, error) {
	template := n.keys.template(names[0], "")
	template.DNSNames = names
	for _, a := range addresses {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	certificate, key, err := n.keys.sign(template)
	return Certificate{Certificate: certificate, Key: key, CA: n.keys.pem}, err
}

// writeKeys writes the keys of a node's programs into a directory.
func (n *Node) writeKeys(dir string) error {
	k := &keyring{dir: dir}
	n.keys = k
	if err := k.makeAuthority(); err != nil {
		return err
	}
	node := net.IP(n.Address.AsSlice())
	return errors.Join(
		k.server("apiserver", []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost",
		}, net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1), node),
		k.client("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
		k.kubeconfig("admin", n.url(), "admin", "system:masters"),
		k.kubeconfig("controllers", n.url(), "system:kube-controller-manager", ""),
		k.kubeconfig("scheduler", n.url(), "system:kube-scheduler", ""),
		k.kubeconfig("proxy", n.url(), "system:kube-proxy", ""),
		k.kubeconfig("kubelet", n.url(), "system:node:"+n.Name, "system:nodes"),
		k.serviceAccounts(),
	)
}

// url is the API server's.
func (n *Node) url() string { return "https://" + net.JoinHostPort(n.Address.String(), "6443") }

func (k *keyring) makeAuthority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := k.template("test cluster", "")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	k.key = key
	if k.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	k.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private, err := privatePEM(key)
	return errors.Join(err, k.write("ca.crt", k.pem), k.write("ca.key", private))
}

func (k *keyring) template(name, group string) *x509.Certificate {
	k.next++
	t := &x509.Certificate{
		SerialNumber: big.NewInt(k.next),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		t.Subject.Organization = []string{group}
	}
	return t
}

// sign gives a certificate and its key in PEM.
func (k *keyring) sign(template *x509.Certificate) (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, k.ca, key.Public(), k.key)
	if err != nil {
		return nil, nil, err
	}
	private, err = privatePEM(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), private, err
}

func (k *keyring) server(file string, names []string, addresses ...net.IP) error {
	template := k.template(file, "")
	template.DNSNames, template.IPAddresses = names, addresses
	return k.writePair(file, template)
}

func (k *keyring) client(file, name, group string) error {
	return k.writePair(file, k.template(name, group))
}

func (k *keyring) writePair(file string, template *x509.Certificate) error {
	certificate, private, err := k.sign(template)
	return errors.Join(err, k.write(file+".crt", certificate), k.write(file+".key", private))
}

// kubeconfig writes the file of a client of the API server's.
func (k *keyring) kubeconfig(file, url, name, group string) error {
	certificate, private, err := k.sign(k.template(name, group))
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: k.pem}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: private}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: name}
	config.CurrentContext = "test"
	return clientcmd.WriteToFile(*config, filepath.Join(k.dir, file+".kubeconfig"))
}

// serviceAccounts writes the key pair of service accounts' tokens.
func (k *keyring) serviceAccounts() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := privatePEM(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	return errors.Join(err, k.write("serviceaccounts.key", private),
		k.write("serviceaccounts.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
}

func (k *keyring) write(file string, content []byte) error {
	return os.WriteFile(filepath.Join(k.dir, file), content, 0o600)
}

func privatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
