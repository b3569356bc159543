package fleetctl

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
)

// thing is one Deployment or device that a person named.
type thing struct {
	resource *resource
	name     string
}

// parseThings reads KIND/NAME and KIND NAME, in any mixture.
func parseThings(args []string) ([]thing, error) {
	var out []thing
	for i := 0; i < len(args); i++ {
		word, name, ok := strings.Cut(args[i], "/")
		r, err := resourceOf(word)
		if err != nil {
			return nil, err
		}
		if !ok {
			if i++; i == len(args) {
				return nil, fmt.Errorf("%q is followed by no name", word)
			}
			name = args[i]
		}
		if err := eventlog.CheckName(r.singular, name); err != nil {
			return nil, err
		}
		out = append(out, thing{resource: r, name: name})
	}
	return out, nil
}

// isDevice and isDeployment say what kind of thing it is: a rollout is neither.
func (t thing) isDevice() bool     { return !t.resource.namespaced }
func (t thing) isDeployment() bool { return t.resource.plural == deploymentResource().plural }

// completeThings completes kinds and, behind a kind and a slash, names.
func (c *connection) completeThings(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	word, _, slash := strings.Cut(toComplete, "/")
	prefix := word + "/"
	if n := len(args); !slash && n > 0 && !strings.Contains(args[n-1], "/") {
		if _, err := resourceOf(args[n-1]); err == nil {
			word, prefix = args[n-1], ""
		}
	}
	r, err := resourceOf(word)
	switch {
	case err != nil || !slash && prefix != "":
		return []cobra.Completion{"deployment/", "device/"}, none | cobra.ShellCompDirectiveNoSpace
	case r.namespaced:
		return c.names(eventlog.DeploymentSubject(eventlog.Wildcard, eventlog.Wildcard), func(a eventlog.Address) string { return prefix + a.Name })
	}
	return c.names(eventlog.DeviceSubject(eventlog.Wildcard), func(a eventlog.Address) string { return prefix + a.Device })
}
