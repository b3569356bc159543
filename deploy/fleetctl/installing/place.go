package installing

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/eventlog/version"
)

// place is the cluster and the namespace that a command is about.
type place struct {
	kubeconfig, context, namespace string
}

func (p *place) bind(cmd *cobra.Command) { p.bindTo(cmd, names.Namespace, "namespace of the fleet") }

func (p *place) bindTo(cmd *cobra.Command, namespace, help string) {
	f := cmd.Flags()
	f.StringVar(&p.kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, else ~/.kube/config)")
	f.StringVar(&p.context, "kube-context", "", "context of the kubeconfig (default its current one)")
	f.StringVarP(&p.namespace, "namespace", "n", namespace, help)
	complete.Flag(cmd, "kube-context", p.completeContexts)
	complete.Flag(cmd, "namespace", cobra.NoFileCompletions)
	if err := cmd.MarkFlagFilename("kubeconfig"); err != nil {
		panic(err) // a flag that is misspelt above
	}
}

func (p *place) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = p.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: p.context})
}

func (p *place) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	raw, err := p.loader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all := make([]string, 0, len(raw.Contexts))
	for name := range raw.Contexts {
		all = append(all, name)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// config is how the cluster is reached, and the name that the kubeconfig gives it.
func (p *place) config() (*rest.Config, string, error) {
	const try = "--kubeconfig FILE, --kube-context NAME"
	loader := p.loader()
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", cli.Misused(fmt.Errorf("no Kubernetes cluster is chosen: %w", err), try)
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", cli.Misused(fmt.Errorf("kubeconfig: %w", err), try)
	}
	current := raw.CurrentContext
	if p.context != "" {
		current = p.context
	}
	name := config.Host
	if c := raw.Contexts[current]; c != nil && c.Cluster != "" {
		name = c.Cluster
	}
	config.QPS, config.Burst = 50, 100 // dozens of objects at once
	config.UserAgent = "fleetctl/" + version.Version
	return config, name, nil
}
