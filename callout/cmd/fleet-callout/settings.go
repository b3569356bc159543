package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog/version"
)

// settings are what a person can say: by a flag, weaker by an environment variable
// (--nats-url is $FLEET_NATS_URL), and weakest by a line of the file --config
// (nats-url = "…").
type settings struct {
	natsURL, natsCA                                                  string
	authUser, authPassword, logUser, logPassword, sysUser, sysPasswd string
	issuerSeeds, xkeySeeds                                           string
	allowPlain, allowPlaintext                                       bool
	issuer, issuerCA, project, algorithms, keysURL                   string
	introspectionKey, introspectionURL                               string
	deviceOrganization, deviceRole, deviceID                         string
	organizations, roles                                             string
	grace, keysMaxAge                                                time.Duration
	listen                                                           string
	logLevel                                                         slog.Level
}

var errHelp = errors.New("help was asked for")

const (
	envPrefix    = "FLEET_"
	defaultRoles = "viewer=person:viewer,operator=person:operator,admin=person:admin," +
		"service-viewer=service:viewer,service-operator=service:operator"
)

func (s *settings) flags() (f *flag.FlagSet, config *string, showVersion *bool) {
	f = flag.NewFlagSet("fleet-callout", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	config = f.String("config", "", "file of settings in TOML, each with the name of its flag; flags and environment variables are stronger")
	f.StringVar(&s.natsURL, "nats-url", "nats://127.0.0.1:4222", "NATS servers, comma separated")
	f.StringVar(&s.natsCA, "nats-ca-file", "", "certificate authority of the NATS servers")
	f.BoolVar(&s.allowPlaintext, "nats-allow-plaintext", false, "send the passwords to NATS without TLS, though the server is not on this machine")
	f.StringVar(&s.authUser, "auth-user", "callout", "user in account AUTH, which answers")
	f.StringVar(&s.authPassword, "auth-password", "", "its password; better by $FLEET_AUTH_PASSWORD")
	f.StringVar(&s.logUser, "log-user", "callout-fleet", "user in account FLEET, which reads and records events")
	f.StringVar(&s.logPassword, "log-password", "", "its password; better by $FLEET_LOG_PASSWORD")
	f.StringVar(&s.sysUser, "sys-user", "callout-sys", "user in the system account, which ends connections")
	f.StringVar(&s.sysPasswd, "sys-password", "", "its password; better by $FLEET_SYS_PASSWORD")
	f.StringVar(&s.issuerSeeds, "issuer-seed-file", "", "file with the account seed (SA…) of auth_callout.issuer; two, comma separated, while it is replaced")
	f.StringVar(&s.xkeySeeds, "xkey-seed-file", "", "file with the curve seed (SX…) of auth_callout.xkey; two, comma separated, while it is replaced")
	f.BoolVar(&s.allowPlain, "allow-plain-requests", false, "answer servers that do not seal their requests")
	f.StringVar(&s.issuer, "issuer", "", "the identity provider, as tokens name it: https://host[:port], without a slash at the end")
	f.StringVar(&s.issuerCA, "issuer-ca-file", "", "certificate authority of the identity provider")
	f.StringVar(&s.keysURL, "keys-url", "", "where the provider publishes its keys; by default what its discovery says")
	f.StringVar(&s.project, "project", "", "id of the fleet's project at the provider")
	f.StringVar(&s.algorithms, "algorithms", "RS256", "algorithms of tokens that are accepted, comma separated")
	f.StringVar(&s.introspectionKey, "introspection-key-file", "", "key file of an API application of the project; opaque tokens are refused without one")
	f.StringVar(&s.introspectionURL, "introspection-url", "", "where the provider introspects; by default what its discovery says")
	f.StringVar(&s.deviceOrganization, "device-organization", "", "id of the organization that owns the devices' machine users")
	f.StringVar(&s.deviceRole, "device-role", "device", "role that, granted by that organization, makes a device too; empty for none")
	f.StringVar(&s.deviceID, "device-id", "sub", "where a device's id stands: sub, device_id (a claim), metadata:<key> or username:<pattern>")
	f.StringVar(&s.organizations, "organizations", "", "ids of the organizations that may grant roles to persons and services, comma separated")
	f.StringVar(&s.roles, "roles", defaultRoles, "what roles of the project may do: name=kind:level[:namespace+namespace], comma separated; kind is person or service, level viewer, operator or admin")
	f.DurationVar(&s.grace, "log-grace", access.DefaultGrace, "how long logins go on when the event log cannot be read")
	f.DurationVar(&s.keysMaxAge, "keys-max-age", token.DefaultMaxAge, "how long the provider's keys are used when they cannot be read again")
	f.StringVar(&s.listen, "listen", ":18081", "address of /metrics, /healthz and /readyz; empty for none")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "DEBUG, INFO, WARN or ERROR")
	return f, config, f.Bool("version", false, "print the version and end")
}

func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	f, config, showVersion := s.flags()
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(stderr)
		_, _ = fmt.Fprintln(stderr, "fleet-callout lets devices, persons and services into NATS by their tokens. Each flag is also an environment variable, --nats-url is $FLEET_NATS_URL, and a line of the file --config.")
		f.PrintDefaults()
		return s, errHelp
	case err != nil:
		return s, fmt.Errorf("%w; see fleet-callout --help", err)
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q; see fleet-callout --help", f.Arg(0))
	}
	if *showVersion {
		_, _ = fmt.Fprint(stderr, version.Read().Text())
		return s, errHelp
	}
	return s, weaker(f, config, getenv)
}

// weaker sets what no flag said, by the environment or else by the file.
func weaker(f *flag.FlagSet, config *string, getenv func(string) string) error {
	said := map[string]bool{"config": true, "version": true}
	f.Visit(func(fl *flag.Flag) { said[fl.Name] = true })
	if v := getenv(envPrefix + "CONFIG"); v != "" && *config == "" {
		*config = v
	}
	var bad error
	f.VisitAll(func(fl *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v := getenv(name); v != "" && bad == nil && !said[fl.Name] {
			said[fl.Name] = true
			if err := f.Set(fl.Name, v); err != nil {
				bad = fmt.Errorf("$%s: %w", name, err)
			}
		}
	})
	if bad != nil || *config == "" {
		return bad
	}
	return fromFile(f, *config, said)
}

func fromFile(f *flag.FlagSet, file string, said map[string]bool) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var lines map[string]any
	if err := toml.Unmarshal(b, &lines); err != nil {
		return fmt.Errorf("--config: %s is not TOML: %w", file, err)
	}
	names := make([]string, 0, len(lines))
	for name := range lines {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if f.Lookup(name) == nil || name == "config" || name == "version" {
			return fmt.Errorf("--config: %s: there is no setting %q; see fleet-callout --help", file, name)
		}
		if said[name] {
			continue
		}
		text, err := textOf(lines[name])
		if err != nil {
			return fmt.Errorf("--config: %s: %s: %w", file, name, err)
		}
		if err := f.Set(name, text); err != nil {
			return fmt.Errorf("--config: %s: %s: %w", file, name, err)
		}
	}
	return nil
}

// textOf gives a value as a flag would: a list is joined by commas.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int64:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			s, ok := p.(string)
			if !ok {
				return "", errors.New("a list must hold texts")
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("a value cannot be a %T", v)
}
