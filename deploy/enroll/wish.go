package enroll

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/deploy/enroll/unit"
)

// Where things are on a device, beside what package config names.
const (
	configDir      = "/etc/fleet-agent"
	caPath         = configDir + "/ca.crt"
	providerCAPath = configDir + "/provider-ca.crt"
	restartOwed    = "/run/fleet-enroll.restart"
	unitName       = unit.Name
)

// Flavour is how an enrolled device proves who it is.
type Flavour string

// The flavours.
const (
	Shared     Flavour = "shared"      // a user with a password, for a laboratory
	ZitadelJWT Flavour = "zitadel-jwt" // a key that was made before
	Zitadel    Flavour = "zitadel"     // a key that the device makes and keeps
)

// Flavours lists them, the recommended one first.
func Flavours() []string { return []string{string(Zitadel), string(ZitadelJWT), string(Shared)} }

// Wish is what a device should be.
type Wish struct {
	ID     string
	Labels map[string]string // beside those that the device's configuration has
	// DropLabels removes the labels that the device's configuration has and Labels not.
	DropLabels bool

	NATS Address
	Auth Auth

	OverwriteConfig bool // also where a person changed it
	OverwriteKey    bool // also a key of the same user, which a rotation may have made
	Replace         bool // the id is taken from the machine that has it
}

// Address is how the device reaches the servers.
type Address struct {
	URL            string
	CA             []byte // PEM; nil: the device's own CAs
	AllowPlaintext bool
}

// Auth is how the device proves who it is.
type Auth struct {
	Flavour Flavour

	User, Password string // Shared
	Key            Key    // ZitadelJWT

	Issuer, Project string // all but Shared
	CA              []byte // of the provider
	AllowPlaintext  bool
}

// Key is a key file that was made before.
type Key struct {
	Content    []byte
	ID, UserID string
}

// onTop is the wish with the labels that the device has already: an enrolment that does
// not name them must not take its Deployments from a device.
func (w Wish) onTop(f Facts) Wish {
	is, err := config.Parse(f.Config)
	if err != nil || w.DropLabels || is.DeviceID != w.ID {
		return w
	}
	labels := maps.Clone(is.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, w.Labels)
	w.Labels = labels
	return w
}

// Check says what is wrong with a wish, before a device is touched.
func (w Wish) Check() error {
	switch w.Auth.Flavour {
	case Shared:
		if w.Auth.User == "" {
			return errors.New("auth shared needs the user of the device")
		}
	case ZitadelJWT:
		if len(w.Auth.Key.Content) == 0 {
			return errors.New("auth zitadel-jwt needs a key file")
		}
	case Zitadel:
	default:
		return fmt.Errorf("unknown auth %q; there are %s", w.Auth.Flavour, strings.Join(Flavours(), ", "))
	}
	return w.config().Check()
}

// config is the device's configuration.
func (w Wish) config() config.Config {
	c := config.Default()
	c.DeviceID, c.Labels = w.ID, w.Labels
	c.NATS = config.NATS{URL: w.NATS.URL, AllowPlaintext: w.NATS.AllowPlaintext}
	if len(w.NATS.CA) > 0 {
		c.NATS.CAFile = caPath
	}
	if w.Auth.Flavour == Shared {
		c.Auth.User, c.Auth.Password = w.Auth.User, w.Auth.Password
		return c
	}
	c.Auth.Mode, c.Auth.Issuer, c.Auth.ProjectID, c.Auth.AllowPlaintext = config.ModeZitadelJWT, w.Auth.Issuer, w.Auth.Project, w.Auth.AllowPlaintext
	if len(w.Auth.CA) > 0 {
		c.Auth.CAFile = providerCAPath
	}
	return c
}

const (
	headerStart = "# Written by fleetctl enroll, sha256 "
	headerRest  = "# Change what you like: an enrolment keeps what was changed, unless it is told\n# --overwrite-config.\n"
)

// configFile is config.toml. Its first line has the checksum of what follows, by which
// a later enrolment knows whether a person changed it.
func (w Wish) configFile() ([]byte, error) {
	body, err := w.config().Encode()
	if err != nil {
		return nil, err
	}
	body = append([]byte(headerRest), body...)
	sum := sha256.Sum256(body)
	return append([]byte(headerStart+hex.EncodeToString(sum[:])+"\n"), body...), nil
}

// untouched says whether a config.toml is as an enrolment wrote it.
func untouched(file []byte) bool {
	line, body, ok := bytes.Cut(file, []byte("\n"))
	sum, ours := bytes.CutPrefix(line, []byte(headerStart))
	got := sha256.Sum256(body)
	return ok && ours && string(sum) == hex.EncodeToString(got[:])
}

// Server is a host and a port that the device has to reach.
type Server struct {
	What string // NATS or provider
	Host string
	Port int
}

const (
	whatNATS     = "NATS"
	whatProvider = "provider"
)

// Servers are those that the device has to reach.
func (w Wish) Servers() []Server {
	var all []Server
	for _, one := range w.config().NATS.Servers() {
		all = appendServer(all, whatNATS, one)
	}
	if w.Auth.Flavour != Shared {
		all = appendServer(all, whatProvider, w.Auth.Issuer)
	}
	return all
}

var ports = map[string]int{"wss": 443, "ws": 80, "tls": 4222, "nats": 4222, "https": 443, "http": 80}

func appendServer(all []Server, what, address string) []Server {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return all // Check said so
	}
	s := Server{What: what, Host: u.Hostname(), Port: ports[u.Scheme]}
	if p, err := strconv.Atoi(u.Port()); err == nil {
		s.Port = p
	}
	return append(all, s)
}
