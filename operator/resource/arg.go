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

// DeploymentArg reads NAME, deployment/NAME or deployment NAME.
func DeploymentArg(args []string) (string, error) {
	name := args[len(args)-1]
	word := "deployment"
	if w, n, ok := strings.Cut(name, "/"); ok && len(args) == 1 {
		word, name = w, n
	} else if len(args) == 2 {
		word = args[0]
	}
	if r, err := ByWord(word); err != nil || r.Plural != Deployments().Plural || len(args) > 2 {
		return "", fmt.Errorf("%q is not of the form NAME or deployment/NAME", strings.Join(args, " "))
	}
	return name, eventlog.CheckName("deployment", name)
}
