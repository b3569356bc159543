package status

import (
	"math"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// Inventory is an inventory as a Device's schema takes it: what a device says
// beyond that is cut.
func Inventory(i eventlog.Inventory) *v1alpha1.InventorySnapshot {
	return &v1alpha1.InventorySnapshot{
		Hostname: cut(i.Hostname, 253), Arch: cut(i.Arch, 64), OS: cut(i.OS, 256), Kernel: cut(i.Kernel, 256),
		CPUCores: int32(min(max(i.CPUCores, 0), math.MaxInt32)), MemoryMB: int64(i.MemoryMB),
		AgentVersion: cut(i.AgentVersion, 128), PodmanVersion: cut(i.PodmanVersion, 128),
	}
}

// cut keeps the beginning of a text, in whole runes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xC0 == 0x80 {
		most--
	}
	return s[:most]
}
