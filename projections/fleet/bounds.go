package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"fleet.nationtech.io/eventlog"
)

// What a device can choose the name, number or length of is bounded here: a fold
// keeps it for ever, in each operator, tool and checkpoint. Reports within the
// bounds are kept as they are.
const (
	// MaxUnknown is how many Deployments a device may report that the log never
	// assigned to it. Reports of more are foreign.
	MaxUnknown = 64
	// MaxLabels is how many of its reported labels are kept: the first by name.
	MaxLabels = 256

	maxErrorLength    = 4096 // bytes, of an error
	maxLabelKeyLength = 512  // of a reported label's key, which Kubernetes bounds to 317
	maxWordLength     = 1024 // of all else: a hash, a reason, a label's value, what is in an inventory
)

// ErrTooManyUnknown is an eventlog.ErrForeign: the device reports more than
// MaxUnknown Deployments that the log never assigned to it.
var ErrTooManyUnknown = fmt.Errorf("%w: the device reports more than %d Deployments that were never assigned to it", eventlog.ErrForeign, MaxUnknown)

// Crowded says whether the device reports as many Deployments that the log never
// assigned to it as are kept: reports of any other are passed over.
func (d *Device) Crowded() bool { return d.unknown >= MaxUnknown }

// Unknown names what the device reports of Deployments that the log never assigned to
// it, sorted.
func (d *Device) Unknown() []string {
	if d.unknown == 0 {
		return nil
	}
	var names []string
	for _, p := range d.pairs {
		if p.Desired.Sequence == 0 && p.Reported.Phase != "" {
			names = append(names, p.Name)
		}
	}
	return names
}

// count keeps the number of a device's unknown pairs while one changes.
func (d *Device) count(p *Assignment, n int) {
	if p.Desired.Sequence == 0 {
		d.unknown += n
	}
}

// cut keeps the beginning of a text, in whole runes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most]) // the rest is not to be kept in memory
}

func cutInfo(i *eventlog.DeviceInfo) {
	n := &i.Inventory
	for _, s := range [...]*string{&n.Hostname, &n.Arch, &n.OS, &n.Kernel, &n.AgentVersion, &n.PodmanVersion} {
		*s = cut(*s, maxWordLength)
	}
	i.Labels = cutLabels(i.Labels)
}

func cutLabels(labels map[string]string) map[string]string {
	fits := len(labels) <= MaxLabels
	for k, v := range labels {
		fits = fits && len(k) <= maxLabelKeyLength && len(v) <= maxWordLength
	}
	if fits {
		return labels
	}
	kept := make(map[string]string, min(len(labels), MaxLabels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if len(kept) == MaxLabels {
			break
		}
		short := cut(k, maxLabelKeyLength)
		if _, there := kept[short]; !there {
			kept[short] = cut(labels[k], maxWordLength)
		}
	}
	return kept
}
