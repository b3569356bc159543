// Package contexts keeps in files the ways into fleets that a person gave a name. It
// reads the contexts of the nats CLI too, and never writes those.
package contexts

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

// Origin is whose file a context is in.
type Origin string

// Origins.
const (
	Own  Origin = "fleetctl"
	NATS Origin = "nats" // of the nats CLI
)

// natsPrefix names a context of the nats CLI, whatever own ones there are.
const natsPrefix = "nats:"

// Context is one way into a fleet. Who logs in by a provider has Issuer and Project,
// and ClientID (persons) or KeyFile (services); others have a user or credentials.
type Context struct {
	Name   string `json:"-"`
	Origin Origin `json:"-"`

	URL    string `json:"url,omitempty"`     // NATS servers, with commas between them
	CAFile string `json:"ca_file,omitempty"` // PEM

	Issuer   string `json:"issuer,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Project  string `json:"project,omitempty"`
	KeyFile  string `json:"key_file,omitempty"` // of a machine user

	User         string `json:"user,omitempty"`
	Password     string `json:"password,omitempty"`
	PasswordFile string `json:"password_file,omitempty"`
	CredsFile    string `json:"creds_file,omitempty"` // as nsc makes it

	// InsecurePlaintext permits a token over a connection that is not encrypted.
	InsecurePlaintext bool `json:"insecure_plaintext,omitempty"`

	nats *natscontext.Context // of Origin NATS
}

// Ref is how a person names the context so that it is unique.
func (c Context) Ref() string {
	if c.Origin == NATS {
		return natsPrefix + c.Name
	}
	return c.Name
}

// Servers are the NATS servers' URLs without a secret.
func (c Context) Servers() string {
	all := strings.Split(c.URL, ",")
	for i, one := range all {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil && u.User != nil {
			u.User = nil
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

// Login says by what the context logs in, in few words and without a secret.
func (c Context) Login() string {
	switch {
	case c.nats != nil && c.User == "" && c.nats.Token() != "":
		return "token"
	case c.nats != nil && c.nats.NKey() != "":
		return "nkey"
	case c.nats != nil && c.nats.UserJWT() != "":
		return "user JWT"
	case c.nats != nil && c.CredsFile != "":
		return "credentials" // which may stand in the context itself
	case c.CredsFile != "":
		return "credentials " + c.CredsFile
	case c.KeyFile != "":
		return "key " + c.KeyFile
	case c.Issuer != "":
		return "login at " + c.Issuer
	case c.User != "":
		return "user " + c.User
	}
	return "nobody"
}

// ByToken says whether a bearer token is shown to the servers.
func (c Context) ByToken() bool {
	return c.Issuer != "" || c.nats != nil && c.User == "" && c.nats.Token() != ""
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// CheckName says whether a context may have a name.
func CheckName(name string) error {
	if !nameForm.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("the name %q of a context must have at most 63 letters, digits, '.', '_' and '-', and begin with a letter or digit", name)
	}
	return nil
}

// Check says all that is wrong with what a person wrote.
func (c Context) Check() error {
	return errors.Join(CheckName(c.Name), c.checkServers(), c.CheckProvider(), c.checkUser())
}

func (c Context) checkServers() error {
	if c.URL == "" {
		return errors.New("a context needs the NATS servers: --url wss://… or tls://…")
	}
	_, err := ParseURL(c.URL)
	return err
}

// ParseURL reads the servers' URLs. A server without a scheme is one of scheme nats,
// as for every NATS client.
func ParseURL(list string) (trust.Addresses, error) {
	all := strings.Split(list, ",")
	for i, one := range all {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		all[i] = one
	}
	a, err := trust.ParseAddresses(strings.Join(all, ","))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	return a, nil
}

// CheckProvider says what is wrong with the login by a provider, where there is one.
func (c Context) CheckProvider() error {
	if c.Issuer == "" {
		if c.ClientID != "" || c.Project != "" || c.KeyFile != "" {
			return errors.New("--client-id, --project and --key-file need the provider: --issuer https://…")
		}
		return nil
	}
	plaintext, err := openid.CheckIssuer(c.Issuer)
	switch {
	case err != nil:
		return fmt.Errorf("--issuer %w", err)
	case plaintext && !c.InsecurePlaintext:
		return fmt.Errorf("--issuer %q is not encrypted: use https://, or say --insecure-plaintext where the network can be trusted", c.Issuer)
	case c.Project == "" || strings.ContainsAny(c.Project, " :"):
		return errors.New("a login by a provider needs the fleet's project there: --project ID")
	case c.ClientID == "" && c.KeyFile == "":
		return errors.New("a login by a provider needs --client-id (a person, by fleetctl login) or --key-file (a service)")
	case c.User != "" || c.CredsFile != "":
		return errors.New("a context logs in by one thing: --issuer, or --user, or --creds-file")
	}
	return nil
}

func (c Context) checkUser() error {
	switch {
	case c.User == "" && (c.Password != "" || c.PasswordFile != ""):
		return errors.New("--password and --password-file need --user")
	case c.Password != "" && c.PasswordFile != "":
		return errors.New("--password and --password-file exclude each other")
	case c.User != "" && c.CredsFile != "":
		return errors.New("--user and --creds-file exclude each other")
	}
	return nil
}

// ReadPassword gives the password, or reads it from its file.
func (c Context) ReadPassword() (string, error) {
	if c.PasswordFile == "" {
		return c.Password, nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password of context %s: %w", c.Name, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Options are what the NATS client needs beside user, password, token and CA file.
func (c Context) Options() ([]nats.Option, error) {
	switch {
	case c.nats != nil:
		o, err := c.nats.NATSOptions()
		if err != nil {
			return nil, fmt.Errorf("context %s of the nats CLI: %w", c.Name, err)
		}
		return o, nil
	case c.CredsFile != "":
		if _, err := os.Stat(c.CredsFile); err != nil {
			return nil, fmt.Errorf("the credentials of context %s: %w", c.Name, err)
		}
		return []nats.Option{nats.UserCredentials(c.CredsFile)}, nil
	}
	return nil, nil
}
