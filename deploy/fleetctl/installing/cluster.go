package installing

import (
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/deploy/chart/names"
)

// Cluster is the cluster and the namespace that a command of another package looks at, if
// there is one.
type Cluster struct{ place }

// Bind adds the flags that say which.
func (c *Cluster) Bind(cmd *cobra.Command) {
	c.bindTo(cmd, names.Namespace, "namespace of the fleet's servers in Kubernetes")
}

// Config is how the cluster is reached, and its name. It fails where none is chosen.
func (c *Cluster) Config() (*rest.Config, string, error) { return c.config() }

// Chosen says whether a person named one.
func (c *Cluster) Chosen() bool { return c.kubeconfig != "" || c.context != "" }

// Namespace is that of the fleet.
func (c *Cluster) Namespace() string { return c.namespace }
