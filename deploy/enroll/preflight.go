package enroll

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Requirements of a device.
const (
	minPodman     = 4
	minFreeMB     = 300
	minUpdateMB   = 100 // where the agent is there already
	maxClockAhead = time.Minute
)

func planArch(f Facts, k Known) Step {
	switch arch := f.Arch(); {
	case f.Kernel != "Linux":
		return refuse(StepArch, "enrol a device that runs Linux", "the device runs %s, and the agent needs Linux", f.Kernel)
	case arch == "":
		return refuse(StepArch, "use a device of architecture x86_64, aarch64 or armv7l", "the agent is not made for the architecture %s", f.Machine)
	case k.NoBin != nil && wayOf(f, k) == byBinary:
		return refuse(StepArch, "name it by --agent FILE, or a directory that has "+BinaryName(arch)+", or by --bundle", "there is no agent for %s: %v", f.Machine, k.NoBin)
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
	if f.AgentSum != "" || f.PackagedSum != "" {
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
