package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	sshconfig "github.com/kevinburke/ssh_config"
)

// NoConfig is the name of no SSH configuration.
const NoConfig = "none"

const systemConfig = "/etc/ssh/ssh_config"

// hop is one SSH server on the way to a device, or the device's own.
type hop struct {
	user, address  string // HOST:PORT
	hostKey        string // HOST:PORT by which known hosts have its key
	identities     []string
	defaults       []string // identities that nobody named
	identitiesOnly bool
	agent          string // its socket
	knownHosts     []string
	acceptNew      bool
	jump           string
}

func (h hop) String() string { return h.user + "@" + h.address }

// sshConfig is what the person's and the system's SSH configuration say; what comes
// first holds.
type sshConfig struct {
	files []*sshconfig.Config
	home  string
}

func readSSHConfig(file, home string) (sshConfig, error) {
	c := sshConfig{home: home}
	names := []string{filepath.Join(home, ".ssh", "config"), systemConfig}
	switch file {
	case "":
	case NoConfig:
		return c, nil
	default:
		names = []string{file}
	}
	for _, name := range names {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return c, fmt.Errorf("read the SSH configuration: %w", err)
		}
		decoded, err := sshconfig.Decode(f)
		_ = f.Close()
		if err != nil {
			return c, fmt.Errorf("the SSH configuration %s cannot be understood (%w): give another one by --ssh-config FILE, or --ssh-config none and all by flags", name, err)
		}
		c.files = append(c.files, decoded)
	}
	return c, nil
}

func (c sshConfig) all(host, key string) ([]string, error) {
	var values []string
	for _, f := range c.files {
		v, err := f.GetAll(host, key)
		if err != nil {
			return nil, fmt.Errorf("the SSH configuration's %s for %s: %w", key, host, err)
		}
		values = append(values, v...)
	}
	return values, nil
}

func (c sshConfig) first(host, key string) (string, error) {
	v, err := c.all(host, key)
	if err != nil || len(v) == 0 {
		return "", err
	}
	return v[0], nil
}

// hop resolves one target. Its errors name what is not supported.
func (d *Dialer) hop(t Target) (hop, error) {
	var firstErr error
	get := func(key string) string {
		v, err := d.config.first(t.Host, key)
		if firstErr == nil {
			firstErr = err
		}
		return v
	}
	host, port, user := get("HostName"), get("Port"), t.User
	if host = strings.ReplaceAll(host, "%h", t.Host); host == "" {
		host = t.Host
	}
	if t.Port != 0 {
		port = strconv.Itoa(t.Port)
	} else if port == "" {
		port = "22"
	}
	if user == "" {
		user = get("User")
	}
	if user == "" {
		user = d.options.User
	}
	h := hop{user: user, address: net.JoinHostPort(host, port), agent: d.options.AgentSocket, acceptNew: d.options.AcceptNewHostKeys, jump: get("ProxyJump")}
	h.hostKey = h.address
	if alias := get("HostKeyAlias"); alias != "" {
		h.hostKey = net.JoinHostPort(alias, "22")
	}
	expand := strings.NewReplacer("%h", host, "%n", t.Host, "%p", port, "%r", user, "%d", d.config.home, "%%", "%")
	path := func(p string) string {
		p = expand.Replace(strings.Trim(p, `"`))
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			return filepath.Join(d.config.home, rest)
		}
		return p
	}
	switch a := get("IdentityAgent"); {
	case strings.EqualFold(a, "none"):
		h.agent = ""
	case a != "" && a != "SSH_AUTH_SOCK":
		h.agent = path(a)
	}
	if proxy := get("ProxyCommand"); proxy != "" && !strings.EqualFold(proxy, "none") && h.jump == "" {
		return h, fmt.Errorf("the SSH configuration has a ProxyCommand for %s, which this program does not run: use ProxyJump, or --jump USER@HOST", t.Host)
	}
	h.identitiesOnly = strings.EqualFold(get("IdentitiesOnly"), "yes")
	switch strings.ToLower(get("StrictHostKeyChecking")) {
	case "accept-new", "no", "off": // a changed key is refused all the same
		h.acceptNew = true
	}
	identities, err := d.config.all(t.Host, "IdentityFile")
	if err != nil {
		return h, err
	}
	h.identities = append(h.identities, d.options.Identities...)
	for _, i := range identities {
		if !strings.EqualFold(i, "none") {
			h.identities = append(h.identities, path(i))
		}
	}
	if len(h.identities) == 0 {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			h.defaults = append(h.defaults, filepath.Join(d.config.home, ".ssh", name))
		}
	}
	known, err := d.config.all(t.Host, "UserKnownHostsFile")
	if err != nil {
		return h, err
	}
	switch {
	case d.options.KnownHosts != "":
		h.knownHosts = []string{d.options.KnownHosts}
	case len(known) > 0:
		for _, k := range strings.Fields(known[0]) {
			if !strings.EqualFold(k, "none") {
				h.knownHosts = append(h.knownHosts, path(k))
			}
		}
	}
	if len(h.knownHosts) == 0 {
		h.knownHosts = []string{filepath.Join(d.config.home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	return h, firstErr
}

// maxHops bounds a chain of jump hosts, which may lead back to its beginning.
const maxHops = 8

// route gives the servers on the way to a target, the target last. jump, where it is
// given, takes the place of the configuration's ProxyJump.
func (d *Dialer) route(t Target, jump string) ([]hop, error) { return d.routeWithin(t, jump, maxHops) }

func (d *Dialer) routeWithin(t Target, jump string, left int) ([]hop, error) {
	if left == 0 {
		return nil, fmt.Errorf("there are more than %d jump hosts on the way to %s: does ProxyJump in the SSH configuration lead back to itself?", maxHops-1, t.Host)
	}
	last, err := d.hop(t)
	if err != nil {
		return nil, err
	}
	if jump == "" {
		jump = last.jump
	}
	if jump == "" || strings.EqualFold(jump, "none") {
		return []hop{last}, nil
	}
	var way []hop
	for i, text := range strings.Split(jump, ",") {
		over, err := ParseTarget(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("the jump host of %s: %w", t.Host, err)
		}
		then := "none" // as ssh does: the first one alone may have jump hosts of its own
		if i == 0 {
			then = ""
		}
		before, err := d.routeWithin(over, then, left-1)
		if err != nil {
			return nil, err
		}
		way = append(way, before...)
	}
	return append(way, last), nil
}
