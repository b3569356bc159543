package agent

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/version"
)

// How often the agent looks what it runs on: memory is plugged in seldom. What it
// could not find out, such as the version of an engine that was away or busy, it
// asks for again with back-off.
const (
	inventoryInterval   = 5 * time.Minute
	inventoryFirstRetry = time.Second
	inventoryLastRetry  = 30 * time.Second
	inventoryTimeout    = 5 * time.Second
)

// informer is where what the device says of itself goes.
type informer interface {
	Info(eventlog.DeviceInfo)
}

// keyEnds is what is told of the device's key.
type keyEnds interface {
	KeyEnds() time.Time
	KeyChanged() <-chan struct{}
}

// tellInventory reports what the device is and when its key ends, at the start and
// when that changes.
func (a *Agent) tellInventory(ctx context.Context, key keyEnds, to informer) error {
	var last eventlog.DeviceInfo
	labels := maps.Clone(a.config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for retry := inventoryFirstRetry; ; {
		limited, cancel := context.WithTimeout(ctx, inventoryTimeout)
		engine, err := a.options.Engine.Info(limited)
		cancel()
		found := inventory(engine.Version)
		wait := inventoryInterval
		if err != nil || !complete(found) {
			wait, retry = retry, min(2*retry, inventoryLastRetry)
		} else {
			retry = inventoryFirstRetry
		}
		info := eventlog.DeviceInfo{DeviceID: a.config.DeviceID, Labels: labels, Inventory: keep(found, last.Inventory), KeyExpires: key.KeyEnds().UTC()}
		if last.UpdatedAt.IsZero() || info.Inventory != last.Inventory || !info.KeyExpires.Equal(last.KeyExpires) {
			info.UpdatedAt = a.options.Clock().UTC()
			to.Info(info)
			last = info
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-key.KeyChanged():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// complete says whether everything was found out.
func complete(i eventlog.Inventory) bool {
	return i.Hostname != "" && i.Arch != "" && i.OS != "" && i.Kernel != "" && i.CPUCores > 0 && i.MemoryMB > 0 &&
		i.AgentVersion != "" && i.PodmanVersion != ""
}

// keep fills in what was known before of what could not be found out now.
func keep(now, before eventlog.Inventory) eventlog.Inventory {
	for _, f := range []struct{ now, before *string }{
		{&now.Hostname, &before.Hostname}, {&now.OS, &before.OS}, {&now.Kernel, &before.Kernel}, {&now.PodmanVersion, &before.PodmanVersion},
	} {
		*f.now = cmp.Or(*f.now, *f.before)
	}
	now.MemoryMB = cmp.Or(now.MemoryMB, before.MemoryMB)
	return now
}

// inventory reads what the device is. What cannot be read stays empty, and is shown
// as unknown: a report with a hole in it is worth more than none.
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
		i.MemoryMB = int(uint64(s.Totalram) * uint64(s.Unit) >> 20) //nolint:unconvert // 32 bits on arm
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
