package agent

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/version"
)

// inventory reads what the device is. What cannot be read stays empty: a report
// with a hole in it is worth more than none.
func inventory(podmanVersion string) eventlog.Inventory {
	i := eventlog.Inventory{
		Arch:          runtime.GOARCH,
		OS:            osName("/etc/os-release"),
		CPUCores:      runtime.NumCPU(),
		AgentVersion:  version.Version,
		PodmanVersion: podmanVersion,
	}
	if name, err := os.Hostname(); err == nil {
		i.Hostname = name
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		i.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		i.MemoryMB = int(uint64(s.Totalram) * uint64(s.Unit) >> 20)
	}
	return i
}

// osName is the name that a distribution gives itself (os-release(5)).
func osName(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return runtime.GOOS
	}
	defer f.Close()
	return parseOSRelease(f)
}

func parseOSRelease(r io.Reader) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return runtime.GOOS
}
