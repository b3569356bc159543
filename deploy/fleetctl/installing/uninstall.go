package installing

import (
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/install"
)

// NewUninstall makes the command uninstall.
func NewUninstall(s cli.Streams) *cobra.Command {
	var p place
	var output, deleteData string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the fleet's server side out of a Kubernetes cluster",
		Long: `Take the fleet's server side out of a Kubernetes cluster: auth callout, operator and NATS
servers, in this order, and what belongs to them.

These stay: the volumes with the event log; the Secrets; the CRDs, as deleting them
deletes all Deployments and Devices; the namespace; and the record of what was installed.
fleetctl install goes on with the same fleet. Devices keep running what they run, and
come back to it.

--delete-data CLUSTER deletes the volumes and the Secrets too. CLUSTER is the name that
the kubeconfig gives the cluster, so that it cannot be another one by mistake. No device
can come back to the fleet after that, unless from an archive and a backup of the Secrets.`,
		Example: `  fleetctl uninstall --dry-run
  fleetctl uninstall
  fleetctl uninstall --delete-data k3d-fleet`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := complete.CheckTextOrJSON(output); err != nil {
				return err
			}
			config, name, err := p.config()
			if err != nil {
				return err
			}
			if deleteData != "" && deleteData != name {
				return cli.Misused(fmt.Errorf("--delete-data %s: the chosen cluster is %s, and nothing was deleted", deleteData, name), "--kube-context, or --delete-data "+name)
			}
			r := report{streams: s, asJSON: output == render.OutputJSON, dryRun: dryRun, namespace: p.namespace}
			result, err := install.Uninstall(cmd.Context(), install.Options{
				Config: config, Namespace: p.namespace, DryRun: dryRun, Now: s.Now, Tell: r.progress, Found: r.findings,
			}, deleteData != "")
			switch {
			case cmd.Context().Err() != nil:
				return cli.Interrupted("the same command again: it goes on where it stopped")
			case err != nil:
				return explain(err, s.Program())
			}
			return r.removed(result, deleteData != "")
		},
	}
	p.bind(cmd)
	cmd.Flags().StringVar(&deleteData, "delete-data", "", "delete the event log and all keys too; takes the cluster's name as the kubeconfig has it")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be deleted, and delete nothing")
	complete.Flag(cmd, "delete-data", cobra.NoFileCompletions)
	complete.BindOutput(cmd, &output)
	return cmd
}
