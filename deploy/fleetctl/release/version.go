// Package release has the commands of fleetctl about the release that it is of:
// version and bundle.
package release

import (
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog/version"
)

// clientVersion is what -o json and yaml give, named as in kubectl version.
type clientVersion struct {
	ClientVersion struct {
		GitVersion    string `json:"gitVersion"`
		GitCommit     string `json:"gitCommit"`
		GitCommitDate string `json:"gitCommitDate"`
		GitTreeState  string `json:"gitTreeState"` // clean, dirty, or empty where it is not known
		GoVersion     string `json:"goVersion"`
		Platform      string `json:"platform"`
	} `json:"clientVersion"`
}

// NewVersion makes the command version.
func NewVersion(s cli.Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the commit that it was built from",
		Long: `Print the version of fleetctl, the commit that it was built from, and by which Go for
which platform. It connects to nothing. The versions of the devices' agents are in:
kubectl get fleetdev`,
		Example: "  fleetctl version\n  fleetctl version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := render.CheckOutput(output); err != nil {
				return err
			}
			i := version.Read()
			ok, err := render.Document(s, output, document(i))
			if !ok {
				s.Tell("%s version %s", s.Program(), i.Text())
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", render.OutputText, "text, json or yaml")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON, render.OutputYAML}))
	return cmd
}

func document(i version.Info) clientVersion {
	var d clientVersion
	c := &d.ClientVersion
	c.GitVersion, c.GitCommit, c.GitCommitDate = i.Version, i.Commit, i.CommitTime
	c.GoVersion, c.Platform = i.GoVersion, i.Platform
	switch {
	case i.Modified:
		c.GitTreeState = "dirty"
	case i.Commit != "":
		c.GitTreeState = "clean"
	}
	return d
}
