package status

import (
	"cmp"
	"math"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// UnknownInventory stands where a device did not find out what it is, or did not
// say: an empty column could be taken for a fact.
const UnknownInventory = "unknown"

// Inventory is an inventory as a Device's schema takes it: what a device says
// beyond that is cut, and what it does not say is unknown.
func Inventory(i eventlog.Inventory) *v1alpha1.InventorySnapshot {
	return &v1alpha1.InventorySnapshot{
		Hostname: known(i.Hostname, 253), Arch: known(i.Arch, 64), OS: known(i.OS, 256), Kernel: known(i.Kernel, 256),
		CPUCores: int32(min(max(i.CPUCores, 0), math.MaxInt32)), MemoryMB: int64(i.MemoryMB),
		AgentVersion: known(i.AgentVersion, 128), PodmanVersion: known(i.PodmanVersion, 128),
	}
}

// known is a text of an inventory, of at most that many bytes.
func known(s string, most int) string { return cut(cmp.Or(s, UnknownInventory), most) }

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
