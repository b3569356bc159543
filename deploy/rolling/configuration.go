package rolling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// ErrNotReloadable says that a server must be restarted for a change.
var ErrNotReloadable = errors.New("a reload cannot change it")

const reloadTimeout = 30 * time.Second

// Reload has a server read its configuration again. It ends the connections of all users
// that the auth callout let in there.
//
// Errors: ErrNotReloadable; why the server keeps its configuration.
func Reload(ctx context.Context, nc *nats.Conn, s Server) error {
	var a struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := askOne(ctx, nc, eventlog.ReloadSubject(s.ID), &a); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	switch {
	case a.Error == nil:
		return nil
	case strings.Contains(a.Error.Description, "config reload not supported"):
		return fmt.Errorf("reload: the server keeps its configuration: %s: %w", a.Error.Description, ErrNotReloadable)
	}
	return fmt.Errorf("reload: the server keeps its configuration: %s", a.Error.Description)
}

// Configuration is what a server runs with.
type Configuration struct {
	Digest          string    // of its configuration files, see Digest
	CertificateEnds time.Time // of the certificate that it shows to clients; zero: it has none
	RoutesEnd       time.Time // of the one that it shows to the other servers; zero: it has none
}

// Loaded asks a server what it runs with.
func Loaded(ctx context.Context, nc *nats.Conn, s Server) (Configuration, error) {
	var a struct {
		Data struct {
			Digest  string    `json:"config_digest"`
			Ends    time.Time `json:"tls_cert_not_after"`
			Cluster struct {
				Ends time.Time `json:"tls_cert_not_after"`
			} `json:"cluster"`
		} `json:"data"`
	}
	if err := askOne(ctx, nc, eventlog.VariablesSubject(s.ID), &a); err != nil {
		return Configuration{}, fmt.Errorf("ask server %s what it runs with: %w", s.Name, err)
	}
	return Configuration{a.Data.Digest, a.Data.Ends.UTC(), a.Data.Cluster.Ends.UTC()}, nil
}

func askOne(ctx context.Context, nc *nats.Conn, subject string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

var (
	including = regexp.MustCompile(`(?m)^include\s+"?([^"\s]+)"?\s*$`)
	variable  = regexp.MustCompile(`\$[A-Za-z_][A-Za-z0-9_]*`)
)

// Digest is what a server says of a configuration file once it has loaded it
// (nats-server, conf/parse.go): of what the text means, not of how it is written.
// included has the files that it includes, and environment the server's variables.
func Digest(text string, included, environment map[string]string) (string, error) {
	text = variable.ReplaceAllStringFunc(text, func(name string) string {
		if value, found := environment[name[1:]]; found {
			return value
		}
		return name
	})
	var missing error
	text = including.ReplaceAllStringFunc(text, func(line string) string {
		name := including.FindStringSubmatch(line)[1]
		content, found := included[name]
		if !found {
			missing = fmt.Errorf("the configuration includes %s, which is not given", name)
		}
		return content
	})
	if missing != nil {
		return "", missing
	}
	means, err := conf.ParseWithChecks(text)
	if err != nil {
		return "", fmt.Errorf("configuration of the servers: %w", err)
	}
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(means); err != nil {
		return "", fmt.Errorf("configuration of the servers: %w", err)
	}
	return fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}
