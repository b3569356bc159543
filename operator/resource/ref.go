package resource

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Ref is one Deployment or device that a person named.
type Ref struct {
	Resource *Resource
	Name     string
}

// ParseRefs reads KIND/NAME and KIND NAME, in any mixture.
func ParseRefs(args []string) ([]Ref, error) {
	var out []Ref
	for i := 0; i < len(args); i++ {
		word, name, ok := strings.Cut(args[i], "/")
		r, err := ByWord(word)
		if err != nil {
			return nil, err
		}
		if !ok {
			if i++; i == len(args) {
				return nil, fmt.Errorf("missing name after %q", word)
			}
			name = args[i]
		}
		if err := eventlog.CheckName(r.Singular, name); err != nil {
			return nil, err
		}
		out = append(out, Ref{Resource: r, Name: name})
	}
	return out, nil
}

// IsDevice reports whether it is a device. A rollout is neither that nor a Deployment.
func (t Ref) IsDevice() bool { return !t.Resource.Namespaced }

// IsDeployment reports whether it is a Deployment.
func (t Ref) IsDeployment() bool { return t.Resource.Plural == Deployments().Plural }
