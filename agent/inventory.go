package agent

import (
	"bufio"
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

// How often the agent looks what it runs on: memory is plugged in seldom, but an
// engine that was away at first has a version yet to be told.
const (
	inventoryInterval = 5 * time.Minute
	inventoryRetry    = 5 * time.Second
	inventoryTimeout  = 5 * time.Second
)

// informer is where what the device says of itself goes.
type informer interface {
	Info(eventlog.DeviceInfo)
}

// tellInventory reports what the device is, at the start and when it changes.
func (a *Agent) tellInventory(ctx context.Context, to informer) error {
	var last eventlog.DeviceInfo
	labels := maps.Clone(a.config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for {
		wait := inventoryInterval
		limited, cancel := context.WithTimeout(ctx, inventoryTimeout)
		engine, err := a.options.Engine.Info(limited)
		cancel()
		if err != nil {
			wait = inventoryRetry
			engine.Version = last.Inventory.PodmanVersion
		}
		info := eventlog.DeviceInfo{DeviceID: a.config.DeviceID, Labels: labels, Inventory: inventory(engine.Version)}
		if last.UpdatedAt.IsZero() || info.Inventory != last.Inventory {
			info.UpdatedAt = a.options.Clock().UTC()
			to.Info(info)
			last = info
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

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
