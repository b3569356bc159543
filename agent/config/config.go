// Package config reads the agent's config.toml, strictly: what is not
// understood is refused with a sentence, before it can surprise anyone.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Where things are on a device.
const (
	DefaultPath    = "/etc/fleet-agent/config.toml"
	DefaultDataDir = "/var/lib/fleet-agent"
	DefaultKeyFile = "/etc/fleet-agent/zitadel-key.json"

	// DefaultPulseInterval is what the operator counts with, too.
	DefaultPulseInterval = 30 * time.Second
	// MinPulseInterval keeps a slip of the pen from flooding the fleet.
	MinPulseInterval = 100 * time.Millisecond
)

// Config is config.toml. Parse fills in the defaults; the zero value is not
// usable, as a device needs an id and a server.
type Config struct {
	DeviceID string            `toml:"device_id"`
	DataDir  string            `toml:"data_dir"`
	Labels   map[string]string `toml:"labels"` // routing labels, reported in device-info
	NATS     NATS              `toml:"nats"`
	Auth     Auth              `toml:"auth"`
	Podman   Podman            `toml:"podman"`
	Commands Commands          `toml:"commands"`
	Report   Report            `toml:"report"`
	Metrics  Metrics           `toml:"metrics"`
}

// Metrics is where the agent serves /metrics, /healthz and /readyz.
type Metrics struct {
	Listen string `toml:"listen"` // host:port; empty: nowhere
}

// NATS is how the fleet is reached.
type NATS struct {
	URL            string `toml:"url"`     // one server, or several with commas between them
	CAFile         string `toml:"ca_file"` // PEM; empty: the system's own
	AllowPlaintext bool   `toml:"allow_plaintext"`
}

// Mode is how a device proves who it is.
type Mode string

// The modes of [auth].
const (
	ModeShared     Mode = "shared"
	ModeZitadelJWT Mode = "zitadel-jwt"
)

// Auth is what the device shows to the server: a user with a password that the
// configuration holds (shared), or a token that the device gets from an OpenID
// provider with its key (zitadel-jwt).
type Auth struct {
	Mode      Mode   `toml:"mode"`
	User      string `toml:"user"`
	Password  string `toml:"password"`
	KeyFile   string `toml:"key_file"`   // as Zitadel exports it
	Issuer    string `toml:"issuer"`     // of the provider, byte for byte
	ProjectID string `toml:"project_id"` // the fleet's project there: the token's audience
	CAFile    string `toml:"ca_file"`    // PEM, for the provider, beside the system's own
	// AllowPlaintext permits an issuer of scheme http.
	AllowPlaintext bool `toml:"allow_plaintext"`
	// Scopes are asked for besides those that every device needs.
	Scopes []string `toml:"scopes,omitempty"`
}

// Engine is what runs the containers.
type Engine string

// The engines of [podman].
const (
	EnginePodman Engine = "podman"
	// EngineMemory runs nothing; it is for trying out a fleet without Podman.
	EngineMemory Engine = "memory"
)

// Podman is where containers are run.
type Podman struct {
	Engine Engine `toml:"engine"`
	Socket string `toml:"socket"` // empty: $CONTAINER_HOST, else unix:///run/podman/podman.sock
}

// Commands says what may be asked of the device.
type Commands struct {
	AllowExec bool `toml:"allow_exec"`
}

// Report says how often the device speaks.
type Report struct {
	PulseInterval Duration `toml:"pulse_interval"`
}

// Duration is a time.Duration that is written as "30s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it as \"30s\" or \"2m\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Default is a configuration with everything but the device's id and server.
func Default() Config {
	return Config{
		DataDir: DefaultDataDir,
		Auth:    Auth{Mode: ModeShared, KeyFile: DefaultKeyFile},
		Podman:  Podman{Engine: EnginePodman},
		Report:  Report{PulseInterval: Duration(DefaultPulseInterval)},
	}
}

// Load reads, decodes and checks a file.
func Load(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// StorePath is the file of the agent's store.
func (c Config) StorePath() string { return filepath.Join(c.DataDir, "agent.db") }

// Encode writes the configuration as config.toml; Parse reads it back.
func (c Config) Encode() ([]byte, error) {
	b, err := toml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return b, nil
}
