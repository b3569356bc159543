package enroll

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// Facts are what was found on a device.
type Facts struct {
	Kernel   string // uname -s
	Machine  string // uname -m
	Hostname string
	OS       string
	Systemd  string // empty: it is not what started the system
	Podman   string // what podman --version says; empty: there is none

	ClockAhead time.Duration // of the clock of who enrols; negative: behind

	Disks    []Disk
	ReadOnly []string // directories that cannot be written

	AgentSum, AgentVersion string // of an agent that an enrolment installed

	Manager                      pkgfile.Format // what the package manager installs; empty: there is none
	PodmanPackaged               bool           // Podman is of that manager
	Package                      string         // the version of the agent's package; empty: it is not installed
	PackagedSum, PackagedVersion string         // of the agent in it

	Config, CA, ProviderCA []byte // nil: there is no such file
	Unit                   []byte
	EtcMode, ConfigMode    string // as ls shows them, and the owner's number
	KeyMode                string

	KeyID, KeyUser string
	KeyExpires     time.Time
	KeyPending     bool

	RestartOwed  bool              // something was changed, and the agent not restarted since
	Service      map[string]string // systemd's properties of fleet-agent.service
	PodmanSocket map[string]string

	Reach []Reach
}

// Disk is the room of a file system.
type Disk struct {
	Dir    string
	FreeMB int
}

// Reach is whether the device reaches a server.
type Reach struct {
	Host string
	Port int
	Code int // 0: it does; 127: nothing is there to try it with
	Said string
}

const (
	reachTimedOut = 124
	reachUnknown  = 127
)

//go:embed probe.sh
var probeScript string

// probeMark is where the probe's answer begins.
const probeMark = "@@fleet-probe@@"

// probeTimeout bounds the one look at a device.
const probeTimeout = 2 * time.Minute

// Probe looks at a device, in one round trip. now is the clock of who enrols.
func Probe(ctx context.Context, m machine.Machine, servers []Server, now func() time.Time) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var args []string
	for _, s := range servers {
		args = append(args, s.Host, strconv.Itoa(s.Port))
	}
	before := now()
	r, err := m.Run(ctx, machine.Command{Script: probeScript, Args: args})
	if err != nil {
		return Facts{}, fmt.Errorf("look at the device: %w", err)
	}
	if err := r.Check("look at the device"); err != nil {
		return Facts{}, err
	}
	return parseFacts(r.Stdout, before, now())
}

// parseFacts reads what the probe wrote between two moments.
func parseFacts(text []byte, before, after time.Time) (Facts, error) {
	var f Facts
	err := parseAnswers(text, func(name string, value []byte) error {
		f.set(name, value, before, after)
		return nil
	})
	if err == nil && f.Machine == "" {
		err = errSilent
	}
	return f, err
}

var errSilent = errors.New("look at the device: it did not say what it is: is the login shell of the user a shell?")

// parseAnswers reads what a probe wrote: a line with a name and a size in bytes, and
// then the text, over and over.
func parseAnswers(text []byte, each func(name string, value []byte) error) error {
	// A login shell may greet before.
	_, text, _ = bytes.Cut(text, []byte(probeMark+"\n"))
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		name, size, ok := strings.Cut(string(line), " ")
		n, err := strconv.Atoi(size)
		if !ok || err != nil || n < 0 || n > len(rest) {
			return fmt.Errorf("look at the device: its answer is cut at %.60q: run the same command again", line)
		}
		if err := each(name, rest[:n]); err != nil {
			return err
		}
		text = bytes.TrimPrefix(rest[n:], []byte("\n"))
	}
	return nil
}

func (f *Facts) set(name string, value []byte, before, after time.Time) {
	text := strings.TrimSpace(string(value))
	switch name {
	case "date":
		if unix, err := strconv.ParseInt(text, 10, 64); err == nil {
			f.ClockAhead = skew(time.Unix(unix, 0), before, after)
		}
	case "kernel":
		f.Kernel = text
	case "machine":
		f.Machine = text
	case "hostname":
		f.Hostname = text
	case "os":
		f.OS = text
	case "systemd":
		f.Systemd = text
	case "podman":
		f.Podman = text
	case "disk":
		free, dir, _ := strings.Cut(text, " ")
		if kb, err := strconv.ParseInt(free, 10, 64); err == nil {
			f.Disks = append(f.Disks, Disk{Dir: dir, FreeMB: int(kb / 1024)})
		}
	case "readonly":
		f.ReadOnly = append(f.ReadOnly, text)
	case "agent_sum":
		f.AgentSum = text
	case "agent_version":
		f.AgentVersion = text
	case "manager":
		f.Manager = pkgfile.Format(text)
	case "podman_packaged":
		f.PodmanPackaged = true
	case "package":
		f.Package = text
	case "packaged_sum":
		f.PackagedSum = text
	case "packaged_version":
		f.PackagedVersion = text
	case "config":
		f.Config = bytes.Clone(value)
	case "ca":
		f.CA = bytes.Clone(value)
	case "provider_ca":
		f.ProviderCA = bytes.Clone(value)
	case "unit":
		f.Unit = bytes.Clone(value)
	case "etc_mode":
		f.EtcMode = text
	case "config_mode":
		f.ConfigMode = text
	case "key_mode":
		f.KeyMode = text
	case "key_id":
		f.KeyID = text
	case "key_user":
		f.KeyUser = text
	case "key_expires":
		f.KeyExpires, _ = time.Parse(time.RFC3339, text) // a file without it does not say
	case "key_pending":
		f.KeyPending = true
	case "restart_owed":
		f.RestartOwed = true
	case "service":
		f.Service = properties(text)
	case "podman_socket":
		f.PodmanSocket = properties(text)
	case "reach":
		f.Reach = append(f.Reach, parseReach(text))
	}
}

// skew is how far a clock is ahead that showed said at some moment between two. The
// clock has whole seconds, so that one of up to a second says nothing.
func skew(said, before, after time.Time) time.Duration {
	switch {
	case said.Before(before.Add(-time.Second)):
		return said.Sub(before)
	case said.After(after):
		return said.Sub(after)
	}
	return 0
}

func properties(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[name] = value
		}
	}
	return all
}

func parseReach(text string) Reach {
	words := strings.SplitN(text, " ", 4)
	for len(words) < 4 {
		words = append(words, "")
	}
	r := Reach{Host: words[0], Said: words[3]}
	r.Port, _ = strconv.Atoi(words[1])
	var err error
	if r.Code, err = strconv.Atoi(words[2]); err != nil {
		r.Code = reachUnknown
	}
	return r
}

func (r Reach) address() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// arches are the names that Go gives what uname -m says. The agent for arm is built for
// ARMv7.
var arches = map[string]string{
	"x86_64": "amd64", "amd64": "amd64",
	"aarch64": "arm64", "arm64": "arm64",
	"armv7l": "arm", "armv8l": "arm",
}

// Arch is the device's architecture as Go names it; empty: the agent is not made for it.
func (f Facts) Arch() string { return arches[f.Machine] }
