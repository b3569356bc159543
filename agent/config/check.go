package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
)

// restrictedPrefix marks labels that a device may not give itself: a stolen key
// must not be able to choose what it is sent.
const restrictedPrefix = "restricted.fleet.nationtech.io/"

// Check says all that is wrong with the configuration, a sentence each.
func (c Config) Check() error {
	return errors.Join(append(c.checkLabels(),
		c.checkDevice(), c.checkDataDir(), c.NATS.check(), c.Auth.check(), c.Podman.check(), c.Report.check(), c.Metrics.check())...)
}

func (c Config) checkDevice() error {
	if c.DeviceID == "" {
		return errors.New(`device_id is missing: write device_id = "…", the name of this device in the fleet`)
	}
	return eventlog.CheckName("device_id", c.DeviceID)
}

func (c Config) checkDataDir() error {
	if !filepath.IsAbs(c.DataDir) {
		return fmt.Errorf("data_dir %q must be an absolute path, such as %q", c.DataDir, DefaultDataDir)
	}
	return nil
}

// Labels become labels of the Device, so they are checked as Kubernetes checks
// them (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels).
var (
	labelName   = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const maxLabelPrefix = 253

func (c Config) checkLabels() []error {
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		v := c.Labels[k]
		prefix, name, prefixed := strings.Cut(k, "/")
		if !prefixed {
			prefix, name = "", k
		}
		switch {
		case strings.HasPrefix(k, restrictedPrefix):
			errs = append(errs, fmt.Errorf("label %q: what begins with %s is never taken from a device: "+
				"remove it here, and set it with kubectl label fleetdev/%s", k, restrictedPrefix, c.DeviceID))
		case !labelName.MatchString(name) || prefixed && (len(prefix) > maxLabelPrefix || !labelPrefix.MatchString(prefix)):
			errs = append(errs, fmt.Errorf("label %q: its name must be letters, digits, '-', '_' and '.', at most 63, "+
				"beginning and ending with a letter or digit, with an optional DNS name and '/' before it", k))
		case v != "" && !labelName.MatchString(v):
			errs = append(errs, fmt.Errorf("label %q: value %q must be letters, digits, '-', '_' and '.', at most 63, "+
				"beginning and ending with a letter or digit", k, v))
		}
	}
	return errs
}

func (p Podman) check() error {
	if p.Engine != EnginePodman && p.Engine != EngineMemory {
		return fmt.Errorf("podman.engine %q must be %q or %q", p.Engine, EnginePodman, EngineMemory)
	}
	return nil
}

func (r Report) check() error {
	if d := time.Duration(r.PulseInterval); d < MinPulseInterval {
		return fmt.Errorf("report.pulse_interval %s must be at least %s", d, MinPulseInterval)
	}
	return nil
}

func (m Metrics) check() error {
	if m.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(m.Listen); err != nil {
		return fmt.Errorf("metrics.listen %q must be host:port, such as \"127.0.0.1:9101\", or empty", m.Listen)
	}
	return nil
}
