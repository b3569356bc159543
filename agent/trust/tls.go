package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// Servers is how the certificates of one kind of server are judged.
type Servers struct {
	clock *Clock
	roots *x509.CertPool // nil: the system's own
}

// New reads the CA file, where one is named. It fails where the file holds no
// certificate.
func New(clock *Clock, caFile string) (*Servers, error) {
	s := &Servers{clock: clock}
	if caFile == "" {
		return s, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	s.roots = x509.NewCertPool()
	if !s.roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file %s holds no certificate in PEM: name the file of the CA that signed the server's certificate", caFile)
	}
	return s, nil
}

// Beside trusts the system's CAs, and those of a file beside them, where one is
// named: for servers of which some have a public certificate.
func Beside(clock *Clock, caFile string) (*Servers, error) {
	s, err := New(clock, caFile)
	if err != nil || caFile == "" {
		return s, err
	}
	all, err := x509.SystemCertPool()
	if err != nil {
		return s, nil //nolint:nilerr // a system without CAs: the file's alone
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	all.AppendCertsFromPEM(text)
	s.roots = all
	return s, nil
}

// TLS is the configuration for a client of these servers.
func (s *Servers) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots, Time: s.clock.ForCertificates}
}

// Learn looks at why a connection failed. Where a certificate is not valid yet
// and a CA that the device trusts signed it, the device's clock is behind: no CA
// signs before a certificate's first moment. Then the clock takes that moment
// for passed, and Learn says true: the next try gets on.
func (s *Servers) Learn(err error) bool {
	var failed *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &failed) || !errors.As(err, &invalid) || invalid.Reason != x509.Expired || len(failed.UnverifiedCertificates) == 0 {
		return false
	}
	moment := time.Time{}
	others := x509.NewCertPool()
	for i, c := range failed.UnverifiedCertificates {
		if c.NotBefore.After(moment) {
			moment = c.NotBefore
		}
		if i > 0 {
			others.AddCert(c)
		}
	}
	if !moment.After(s.clock.ForCertificates()) {
		return false // it has expired, and waiting does not help
	}
	// The name is judged by the next try, which leaves nothing out.
	if _, err := failed.UnverifiedCertificates[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: others, CurrentTime: moment}); err != nil {
		return false
	}
	s.clock.AtLeast(moment)
	return true
}

// Built is when the program's source was committed, as its build recorded it: no
// device that runs it lives earlier. It is zero where nothing was recorded.
func Built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
