package enroll

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"fleet.nationtech.io/agent/config"
)

// State is what a step has to do, or did.
type State string

// States of a step.
const (
	Same    State = "same"    // it is as it should be
	Change  State = "change"  // it differs, and is changed
	Planned State = "planned" // it differs, and would be changed
	Kept    State = "kept"    // it differs, and is left as it is
	Unknown State = "unknown" // it cannot be known before it is tried
	Refused State = "refused" // the enrolment cannot be done
	Failed  State = "failed"  // the change did not work
)

// Name names a step.
type Name string

// The steps, in their order. The first ones are the preflight: they change nothing.
const (
	StepArch     Name = "architecture"
	StepSystemd  Name = "systemd"
	StepPodman   Name = "podman"
	StepDisk     Name = "disk"
	StepClock    Name = "clock"
	StepNATS     Name = "nats"
	StepProvider Name = "provider"
	StepID       Name = "id"

	StepSocket     Name = "podman-socket"
	StepDirectory  Name = "directory"
	StepBinary     Name = "binary"
	StepCA         Name = "ca"
	StepProviderCA Name = "provider-ca"
	StepConfig     Name = "config"
	StepKey        Name = "key"
	StepUnit       Name = "unit"
	StepService    Name = "service"
	StepJoin       Name = "join"
	StepOldKeys    Name = "old-keys"
)

// Step is one step of an enrolment.
type Step struct {
	Name   Name   `json:"step"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Diff   string `json:"diff,omitempty"` // of the configuration, without passwords
	Try    string `json:"try,omitempty"`  // what to do about a refusal
}

// Plan is what an enrolment does.
type Plan struct{ Steps []Step }

// Refusals are the steps for which the enrolment cannot be done.
func (p Plan) Refusals() []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return s.State != Refused })
}

// Changes says whether anything on the device or at the provider is changed.
func (p Plan) Changes() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.State == Change })
}

func (p Plan) step(name Name) (Step, bool) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return p.Steps[i], true
}

func (p Plan) changes(name Name) bool {
	s, ok := p.step(name)
	return ok && s.State == Change
}

// Known is what is known of the device's id beside the device itself.
type Known struct {
	Binary Binary // for the device's architecture
	NoBin  error  // why there is none

	User   *User        // at the provider; nil: it was not asked
	Device *FleetDevice // nil: the fleet was not asked
	Pongs  []Pong       // of all who answer under this id

	Now time.Time
}

// Requirements of a device.
const (
	minPodman     = 4
	minFreeMB     = 300
	minUpdateMB   = 100 // where the agent is there already
	maxClockAhead = time.Minute
)

// NewPlan says what an enrolment does, from what there is and what should be. Pure.
func NewPlan(f Facts, w Wish, k Known) Plan {
	var p Plan
	p.Steps = append(p.Steps, planArch(f, k), planSystemd(f), planPodman(f), planDisk(f), planClock(f))
	p.Steps = append(p.Steps, planReach(f, w)...)
	p.Steps = append(p.Steps, planID(f, w, k))
	p.Steps = append(p.Steps, planSocket(f), planDirectory(f), planBinary(f, k))
	if s, ok := planFile(StepCA, caPath, f.CA, w.NATS.CA); ok {
		p.Steps = append(p.Steps, s)
	}
	if s, ok := planFile(StepProviderCA, providerCAPath, f.ProviderCA, w.Auth.CA); ok {
		p.Steps = append(p.Steps, s)
	}
	p.Steps = append(p.Steps, planConfig(f, w))
	if w.Auth.Flavour != Shared {
		p.Steps = append(p.Steps, planKey(f, w, k))
	}
	p.Steps = append(p.Steps, planUnit(f))
	p.Steps = append(p.Steps, planService(f, p))
	return p
}

func ok(name Name, detail string, args ...any) Step {
	return Step{Name: name, State: Same, Detail: fmt.Sprintf(detail, args...)}
}

func change(name Name, detail string, args ...any) Step {
	return Step{Name: name, State: Change, Detail: fmt.Sprintf(detail, args...)}
}

func refuse(name Name, try, detail string, args ...any) Step {
	return Step{Name: name, State: Refused, Detail: fmt.Sprintf(detail, args...), Try: try}
}

func planArch(f Facts, k Known) Step {
	switch arch := f.Arch(); {
	case f.Kernel != "Linux":
		return refuse(StepArch, "enrol a device that runs Linux", "the device runs %s, and the agent needs Linux", f.Kernel)
	case arch == "":
		return refuse(StepArch, "use a device of architecture x86_64, aarch64 or armv7l", "the agent is not made for the architecture %s", f.Machine)
	case k.NoBin != nil:
		return refuse(StepArch, "name it by --agent FILE, or a directory that has "+BinaryName(arch), "there is no agent for %s: %v", f.Machine, k.NoBin)
	}
	return ok(StepArch, "%s, %s", f.Machine, f.OS)
}

func planSystemd(f Facts) Step {
	if f.Systemd == "" {
		return refuse(StepSystemd, "use a system that systemd starts, such as Debian or Raspberry Pi OS", "systemd does not run the device")
	}
	return ok(StepSystemd, "%s", f.Systemd)
}

var podmanVersion = regexp.MustCompile(`(\d+)\.(\d+)[0-9A-Za-z.+~-]*`)

func planPodman(f Facts) Step {
	const install = "install Podman 4 or newer on the device: apt-get install podman"
	if f.Podman == "" {
		return refuse(StepPodman, install, "the device has no Podman")
	}
	v := podmanVersion.FindStringSubmatch(f.Podman)
	if v == nil {
		return refuse(StepPodman, install, "podman --version says %.100q on the device", f.Podman)
	}
	if major, err := strconv.Atoi(v[1]); err != nil || major < minPodman {
		return refuse(StepPodman, install, "the device has Podman %s, and the agent needs version %d or newer", v[0], minPodman)
	}
	if f.Systemd != "" && f.PodmanSocket["LoadState"] != "loaded" {
		return refuse(StepPodman, "install Podman from a package that has podman.socket", "Podman %s on the device has no unit podman.socket, by which the agent reaches it", v[0])
	}
	return ok(StepPodman, "version %s", v[0])
}

func planSocket(f Facts) Step {
	if f.PodmanSocket["ActiveState"] != "active" || f.PodmanSocket["UnitFileState"] != "enabled" {
		return change(StepSocket, "podman.socket is enabled and started")
	}
	return ok(StepSocket, "podman.socket")
}

func planDisk(f Facts) Step {
	if len(f.ReadOnly) > 0 {
		return refuse(StepDisk, "mount it writable for the enrolment (mount -o remount,rw /)", "%s cannot be written", strings.Join(f.ReadOnly, ", "))
	}
	if len(f.Disks) == 0 {
		return Step{Name: StepDisk, State: Unknown, Detail: "df does not say how much is free"}
	}
	needed := minFreeMB
	if f.AgentSum != "" {
		needed = minUpdateMB
	}
	least := slices.MinFunc(f.Disks, func(a, b Disk) int { return a.FreeMB - b.FreeMB })
	if least.FreeMB < needed {
		return refuse(StepDisk, fmt.Sprintf("make room: %d MB must be free in each of /usr/local/bin, /etc and /var/lib", needed), "%s has %d MB free, and %d MB are needed", least.Dir, least.FreeMB, needed)
	}
	return ok(StepDisk, "%d MB free", least.FreeMB)
}

func planClock(f Facts) Step {
	ahead := f.ClockAhead.Round(time.Second)
	switch {
	case ahead > maxClockAhead:
		return refuse(StepClock, "set it, and keep it right: timedatectl set-ntp true", "the device's clock is %s ahead of this machine's, and certificates and tokens are judged by it", span(ahead))
	case ahead < -maxClockAhead:
		return refuse(StepClock, "set it, and keep it right: timedatectl set-ntp true", "the device's clock is %s behind this machine's, and certificates and tokens are judged by it", span(-ahead))
	case ahead != 0:
		return ok(StepClock, "%s off, which is near enough", span(max(ahead, -ahead)))
	}
	return ok(StepClock, "agrees")
}

func span(d time.Duration) string {
	if days := int(d / (24 * time.Hour)); days >= 2 {
		return fmt.Sprintf("%d days", days)
	}
	return d.String()
}

func planReach(f Facts, w Wish) []Step {
	servers := w.Servers()
	var all []Step
	for i, r := range f.Reach {
		if i >= len(servers) {
			break
		}
		all = append(all, planOneReach(servers[i], r))
	}
	// One of several NATS servers is enough.
	if reached := func(s Step) bool { return s.Name == StepNATS && s.State == Same }; slices.ContainsFunc(all, reached) {
		for i, s := range all {
			if s.Name == StepNATS && s.State == Refused {
				all[i].State, all[i].Try = Unknown, ""
			}
		}
	}
	return all
}

func planOneReach(s Server, r Reach) Step {
	name, flag := StepNATS, "--device-url"
	if s.What == whatProvider {
		name, flag = StepProvider, "--issuer"
	}
	address := Reach{Host: s.Host, Port: s.Port}.address()
	switch r.Code {
	case 0:
		return ok(name, "the device reaches %s", address)
	case reachUnknown:
		return Step{Name: name, State: Unknown, Detail: "the device has nothing to try " + address + " with (bash or nc)"}
	}
	why, try := r.Said, "open the way from the device to it, or name another address by "+flag
	if i := strings.LastIndex(why, ": "); i >= 0 {
		why = why[i+2:]
	}
	if r.Code == reachTimedOut || why == "" {
		why = "no answer"
	}
	if strings.HasPrefix(s.Host, "127.") || s.Host == "localhost" || s.Host == "::1" {
		try = s.Host + " is the device itself: name the address by which it reaches the server, by " + flag
	}
	return refuse(name, try, "the device does not reach the %s server %s: %s", s.What, address, why)
}

func planDirectory(f Facts) Step {
	switch {
	case f.EtcMode == "":
		return change(StepDirectory, "%s is made", configDir)
	case !strings.HasPrefix(f.EtcMode, "drwx------") || !strings.HasSuffix(f.EtcMode, " 0"):
		return change(StepDirectory, "%s becomes root's alone (0700)", configDir)
	}
	return ok(StepDirectory, "%s", configDir)
}

func planBinary(f Facts, k Known) Step {
	switch {
	case f.AgentSum != "" && f.AgentSum == k.Binary.Sum:
		return ok(StepBinary, "already version %s", f.AgentVersion)
	case f.AgentSum == "":
		return change(StepBinary, "%s is installed", AgentPath)
	case f.AgentVersion == "":
		return change(StepBinary, "%s is replaced", AgentPath)
	}
	return change(StepBinary, "%s is replaced; it was version %s", AgentPath, f.AgentVersion)
}

// planFile plans a CA file. Where none is wished, the configuration names none, and one
// that lies there is left.
func planFile(name Name, path string, is, wish []byte) (Step, bool) {
	switch {
	case len(wish) == 0:
		return Step{}, false
	case bytes.Equal(is, wish):
		return ok(name, "%s", path), true
	case is == nil:
		return change(name, "%s is written", path), true
	}
	return change(name, "%s is replaced", path), true
}

const privateMode = "-rw------- 0"

func planConfig(f Facts, w Wish) Step {
	want, err := w.configFile()
	if err != nil {
		return refuse(StepConfig, "", "%v", err)
	}
	path := config.DefaultPath
	if f.Config == nil {
		return change(StepConfig, "%s is written", path)
	}
	is, parseErr := config.Parse(f.Config)
	if is.DeviceID != "" && is.DeviceID != w.ID {
		return refuse(StepConfig, "fleetctl unenroll that device first, or enrol this one with --id "+is.DeviceID,
			"this machine is device %s already", is.DeviceID)
	}
	same := bytes.Equal(f.Config, want)
	s := Step{Name: StepConfig, Diff: configDiff(path, f.Config, want)}
	switch {
	case same && strings.HasPrefix(f.ConfigMode, "-rw------- ") && strings.HasSuffix(f.ConfigMode, " 0"):
		return ok(StepConfig, "%s", path)
	case same:
		return change(StepConfig, "%s becomes root's alone (0600)", path)
	case untouched(f.Config):
		s.State, s.Detail = Change, path+" is brought up to date"
	case w.OverwriteConfig:
		s.State, s.Detail = Change, path+" is replaced; a person had changed it"
	case parseErr != nil:
		s.State, s.Detail, s.Try = Refused, fmt.Sprintf("%s was changed by hand and is not valid: %v", path, parseErr), "correct it on the device, or give --overwrite-config"
	case unlike(is.Auth, w.config().Auth) != "":
		s.State, s.Detail = Refused, fmt.Sprintf("%s was changed by hand, and its %s is not the one of this enrolment", path, unlike(is.Auth, w.config().Auth))
		s.Try = "correct it on the device, or give --overwrite-config; or enrol with what it says"
	default:
		s.State, s.Detail = Kept, path+" differs, and was changed by hand: it is kept (--overwrite-config replaces it)"
	}
	return s
}

// unlike names what decides by which identity the agent gets in, where two
// configurations differ in it: an enrolment that gives the device another identity than
// its agent uses would lock it out.
func unlike(is, want config.Auth) string {
	switch {
	case is.Mode != want.Mode:
		return "auth.mode"
	case is.Mode == config.ModeShared:
		return ""
	case is.KeyFile != want.KeyFile:
		return "auth.key_file"
	case is.Issuer != want.Issuer:
		return "auth.issuer"
	}
	return ""
}

var password = regexp.MustCompile(`(?s)(password["']?\s*=\s*)("""(?:.*?)"""|\x27\x27\x27(?:.*?)\x27\x27\x27|[^\n]*)`)

// configDiff is in what two configurations differ, without their passwords and without
// the first line, which has the checksum.
func configDiff(path string, is, want []byte) string {
	clean := func(text []byte) []byte {
		if bytes.HasPrefix(text, []byte(headerStart)) {
			_, text, _ = bytes.Cut(text, []byte("\n"))
		}
		return text
	}
	is, want = clean(is), clean(want)
	now, then := `"(hidden)"`, `"(hidden)"`
	if !bytes.Equal(password.Find(is), password.Find(want)) {
		then = `"(hidden, another one)"`
	}
	hide := func(text []byte, by string) []byte { return password.ReplaceAll(text, []byte("${1}"+by)) }
	return string(diff.Diff(path, hide(is, now), path+" as wished", hide(want, then)))
}

func planUnit(f Facts) Step {
	switch {
	case bytes.Equal(f.Unit, unit):
		return ok(StepUnit, "%s", unitName)
	case f.Unit == nil:
		return change(StepUnit, "%s is written", UnitPath)
	}
	return change(StepUnit, "%s is replaced", UnitPath)
}

// planService restarts the agent where something changed that it reads when it starts,
// now or in an enrolment that was broken off.
func planService(f Facts, p Plan) Step {
	active, enabled := f.Service["ActiveState"] == "active", f.Service["UnitFileState"] == "enabled"
	restart := f.RestartOwed
	for _, s := range []Name{StepBinary, StepCA, StepProviderCA, StepConfig, StepKey, StepUnit} {
		restart = restart || p.changes(s)
	}
	switch {
	case !active:
		return change(StepService, "%s is enabled and started", unitName)
	case restart:
		return change(StepService, "%s is restarted", unitName)
	case !enabled:
		return change(StepService, "%s is enabled", unitName)
	}
	return ok(StepService, "%s is active", unitName)
}
