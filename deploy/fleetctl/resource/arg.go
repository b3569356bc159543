package resource

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// DeviceArg reads DEVICE or device/DEVICE.
func DeviceArg(arg string) (string, error) {
	word, name, ok := strings.Cut(arg, "/")
	if !ok {
		name = arg
	} else if r, err := ByWord(word); err != nil || r.Namespaced {
		return "", fmt.Errorf("%q is not of the form DEVICE or device/DEVICE", arg)
	}
	return name, eventlog.CheckName("device", name)
}
