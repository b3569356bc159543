package credentials

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
)

// CertificateLife is how long the servers' certificate is valid. It is renewed by
// fleetctl install or upgrade once less than a third is left.
const CertificateLife = 3 * 365 * 24 * time.Hour

// Hosts is what the NATS servers are called: in their namespace, and by devices.
type Hosts struct {
	Namespace string
	Outside   []string // names and addresses
}

// dns lists the servers' names, sorted.
func (h Hosts) dns() []string {
	all := names.CertificateNames(h.Namespace)
	for _, name := range h.Outside {
		if net.ParseIP(name) == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (h Hosts) ips() []net.IP {
	all := []net.IP{net.IPv4(127, 0, 0, 1).To4()}
	for _, name := range h.Outside {
		if ip := net.ParseIP(name); ip != nil && !slices.ContainsFunc(all, ip.Equal) {
			if v4 := ip.To4(); v4 != nil {
				ip = v4
			}
			all = append(all, ip)
		}
	}
	slices.SortFunc(all, slices.Compare[net.IP])
	return all
}

// Certificate gives the servers' certificate: the one that is there, where it still
// fits, else a new one. why says for what a new one was made; empty: none was.
func Certificate(ca *authority.Authority, there authority.Pair, h Hosts, now time.Time) (pair authority.Pair, why string, err error) {
	why = unfit(ca, there, h, now)
	if why == "" {
		return there, "", nil
	}
	until := now.Add(CertificateLife)
	if ca.Ends().Before(until) {
		until = ca.Ends() // no certificate outlives who signed it
	}
	if !until.After(now) {
		return pair, why, fmt.Errorf("the fleet's certificate authority ended on %s; docs/install.md says how it is replaced", ca.Ends().Format(time.DateOnly))
	}
	pair, err = ca.Server(authority.Server{Name: names.NATS, DNS: h.dns(), IPs: h.ips(), Until: until, Client: true}, now)
	return pair, why, err
}

// unfit says why a certificate must be made; nothing when the one that is there serves.
func unfit(ca *authority.Authority, there authority.Pair, h Hosts, now time.Time) string {
	if len(there.Certificate) == 0 {
		return "there was none"
	}
	cert, err := parse(there.Certificate)
	if err != nil {
		return "the one that is there cannot be read"
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Pair().Certificate)
	left := cert.NotAfter.Sub(now)
	switch _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); {
	case left < cert.NotAfter.Sub(cert.NotBefore)/3 && cert.NotAfter.Before(ca.Ends()), left <= 0:
		return fmt.Sprintf("the one that is there ends on %s", cert.NotAfter.Format(time.DateOnly))
	case err != nil:
		return "the fleet's certificate authority did not sign the one that is there"
	case !slices.Equal(slices.Sorted(slices.Values(cert.DNSNames)), h.dns()):
		return "the servers' names are others"
	case !sameIPs(cert.IPAddresses, h.ips()):
		return "the servers' addresses are others"
	}
	return ""
}

func sameIPs(a, b []net.IP) bool {
	if len(a) != len(b) {
		return false
	}
	for _, ip := range a {
		if !slices.ContainsFunc(b, ip.Equal) {
			return false
		}
	}
	return true
}

func parse(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
