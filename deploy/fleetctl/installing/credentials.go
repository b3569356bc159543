package installing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/deploy/secretfile"
)

// NewCredentials makes the command credentials.
func NewCredentials(s cli.Streams) *cobra.Command {
	m := install.Manifest{}
	noCallout := false
	cmd := &cobra.Command{
		Use:   "credentials FILE",
		Short: "Make the Secrets of the fleet's server side, for Helm, kustomize or GitOps",
		Long: `Make the Secrets and ConfigMaps that the pods of the chart need, as a file of YAML, without
a cluster: passwords, the callout's seeds, a certificate authority, the NATS servers'
certificate and their accounts. fleetctl install makes them itself; this command is for
those who install by Helm, kustomize or a GitOps tool.

Where the file is there, what it has stays, and what it lacks is made: run the command
again to renew the certificate, which is valid for three years, or to give it another name
of --host. Keep the file as a secret: who reads it can speak for the whole fleet. Its mode
is 0600.`,
		Example: `  fleetctl credentials fleet-secrets.yaml --host devices.example.com
  kubectl create namespace fleet-system
  kubectl apply --server-side -f fleet-secrets.yaml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error {
			m.Callout, m.Now = !noCallout, s.Now()
			return writeCredentials(s, m, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVarP(&m.Namespace, "namespace", "n", names.Namespace, "namespace of the fleet")
	f.StringSliceVar(&m.Outside, "host", nil, "name or address by which devices reach the NATS servers; may be repeated")
	f.BoolVar(&noCallout, "no-callout", false, "the servers ask no auth callout: for callout.enabled=false")
	complete.Flag(cmd, "namespace", cobra.NoFileCompletions)
	complete.Flag(cmd, "host", cobra.NoFileCompletions)
	return cmd
}

func writeCredentials(s cli.Streams, m install.Manifest, file string) error {
	present, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cli.Misused(err, "another FILE")
	}
	text, certificate, err := m.Complete(present)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if string(text) == string(present) {
		s.Tell("%s has all that the fleet needs. Nothing was changed.\n", file)
		return nil
	}
	if err := secretfile.Write(file, text); err != nil {
		return cli.Failed(err, "another FILE")
	}
	if present == nil {
		s.Tell("%s was made. Keep it as a secret, and keep a copy: without it no device can come back to the fleet.\n", file)
		return nil
	}
	s.Tell("%s was completed. What it had is as it was.\n", file)
	if certificate != "" {
		s.Tell("The NATS servers' certificate was made again: %s. Apply the file, and reload or restart the servers one after the other.\n", certificate)
	}
	return nil
}
