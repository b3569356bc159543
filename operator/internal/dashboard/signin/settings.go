package signin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// Settings are how persons sign in. The zero value is no sign-in.
type Settings struct {
	URL      string // by which persons open the dashboard: https://fleet.example.org, or http:// on the loopback
	Issuer   string // of the OpenID provider
	ClientID string // of the dashboard's application there
	// ClientSecretFile has the application's secret; empty: it is a public client, which PKCE
	// alone protects.
	ClientSecretFile string
	Project          string // of the fleet at the provider; the access token is for it
	IssuerCAFile     string // PEM, trusted for the provider beside the system's CAs
}

// Asked says whether anything of a sign-in was set.
func (s Settings) Asked() bool { return s != Settings{} }

// Check says what is wrong, and reads the files.
func (s Settings) Check() error {
	_, err := s.read()
	return err
}

// read gives what the settings mean.
func (s Settings) read() (c config, err error) {
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"--dashboard-url", s.URL}, {"--dashboard-issuer", s.Issuer}, {"--dashboard-client-id", s.ClientID}, {"--dashboard-project", s.Project},
	} {
		if f.value == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return c, fmt.Errorf("the sign-in to the dashboard is set in part: give %s too, or none of its flags", strings.Join(missing, ", "))
	}
	if c.url, err = origin("--dashboard-url", s.URL); err != nil {
		return c, err
	}
	if c.url.Path != "" && c.url.Path != "/" {
		return c, fmt.Errorf("--dashboard-url %q: the dashboard is at the root of its host; leave the path out", s.URL)
	}
	if _, err = origin("--dashboard-issuer", s.Issuer); err != nil {
		return c, err
	}
	c.Settings = s
	if s.ClientSecretFile != "" {
		b, err := os.ReadFile(s.ClientSecretFile)
		if err != nil {
			return c, fmt.Errorf("--dashboard-client-secret-file: %w", err)
		}
		if c.secret = strings.TrimSpace(string(b)); c.secret == "" {
			return c, fmt.Errorf("--dashboard-client-secret-file: %s is empty", s.ClientSecretFile)
		}
	}
	if s.IssuerCAFile != "" {
		b, err := os.ReadFile(s.IssuerCAFile)
		if err != nil {
			return c, fmt.Errorf("--dashboard-issuer-ca-file: %w", err)
		}
		if c.roots, err = x509.SystemCertPool(); err != nil {
			c.roots = x509.NewCertPool()
		}
		if !c.roots.AppendCertsFromPEM(b) {
			return c, fmt.Errorf("--dashboard-issuer-ca-file: %s has no certificate in PEM", s.IssuerCAFile)
		}
	}
	return c, nil
}

// config is what Settings mean.
type config struct {
	Settings
	url    *url.URL
	secret string
	roots  *x509.CertPool // nil: the system's
}

// origin reads an address that tokens may be sent to: by https, or by http on the loopback.
func origin(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s %q must be a URL such as https://fleet.example.org", flag, text)
	case u.Scheme == "https", u.Scheme == "http" && Loopback(u.Hostname()):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("%s %q: anybody on the way could read a token that goes over http: give https, which http may stand for on the loopback alone", flag, text)
	}
	return nil, errors.New(flag + ": the scheme must be https, or http on the loopback")
}

// Loopback says whether a host, without a port, is this machine's own.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// sameHost says whether a request's Host is that of the dashboard's address.
func (c config) sameHost(host string) bool {
	return strings.EqualFold(withPort(host, c.url.Scheme), withPort(c.url.Host, c.url.Scheme))
}

// withPort adds the port that a scheme has by itself.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
