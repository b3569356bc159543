package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/eventlog/version"
)

// bundledPrograms are those that run outside of a cluster.
var bundledPrograms = []string{"fleet-agent", "fleetctl"}

// createFlags are the flags of create.
type createFlags struct {
	from      string
	platforms string
	others    []string
	noChart   bool
	force     bool
	registry  registryFlags
}

func newCreate(s cli.Streams) *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Put the images, the programs and the chart of a release into one file",
		Long: `Put the images, the programs and the chart of a release into one file.

The images and the programs come from the folder that make images made. Images of others,
such as that of NATS, are pulled from their registry by their digest (--image). The chart is
the one that is compiled into this program, so that it must be of the same commit.

The same release gives the same bytes. Beside the file, room of the same size is needed
until it is done.`,
		Example: `  make images VERSION=v1.2.3
  fleetctl bundle create fleet-v1.2.3.bundle --platforms linux/amd64,linux/arm64 \
    --image docker.io/library/nats:2.15.2-alpine@sha256:…`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return create(cmd.Context(), s, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", filepath.Join("dist", "images"), "the `folder` that make images made")
	flags.StringVar(&f.platforms, "platforms", "", "platforms of the bundle, comma separated (default all)")
	flags.StringArrayVar(&f.others, "image", nil, "`NAME:TAG@sha256:…` of another image that the bundle shall have; may be given several times")
	flags.BoolVar(&f.noChart, "no-chart", false, "leave the Helm chart out")
	flags.BoolVar(&f.force, "force", false, "replace FILE where it is there")
	f.registry.bind(cmd)
	complete.File(cmd, "from")
	complete.Flag(cmd, "platforms", complete.Words(platformNames()))
	return cmd
}

func platformNames() []string {
	var names []string
	for _, p := range images.Platforms() {
		names = append(names, p.String())
	}
	return names
}

func create(ctx context.Context, s cli.Streams, file string, f createFlags) error {
	if _, err := os.Stat(file); err == nil && !f.force {
		return cli.Failed(fmt.Errorf("%s is there already", file), "another name; or --force, to replace it")
	}
	platforms, err := images.ParsePlatforms(f.platforms)
	if err != nil {
		return cli.Misused(err, "--platforms "+platformNames()[0])
	}
	c := bundle.Contents{Platforms: platforms, Programs: bundledPrograms, Dir: filepath.Join(f.from, "bin")}
	if c.Images, _, err = images.ReadLayout(os.DirFS(filepath.Join(f.from, "oci"))); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return cli.Failed(fmt.Errorf("%s does not have the images of a release: %w", f.from, err), "make images")
		}
		return cli.Failed(err, "make images")
	}
	if !f.noChart {
		if err := sameCommit(c.Images, version.Read()); err != nil {
			return cli.Failed(err, "the fleetctl of "+filepath.Join(c.Dir, images.FileName(platforms[0]))+"; or --no-chart")
		}
		c.Chart = chart.Files()
	}
	for _, ref := range f.others {
		image, err := images.Pull(ctx, ref, f.registry.registry())
		if err != nil {
			return explainRegistry(err, "run the same command again")
		}
		c.Images = append(c.Images, image)
	}
	p := render.NewProgress(s, "writing "+file)
	x, err := bundle.Write(ctx, file, c, p.Report)
	p.End()
	if err != nil {
		return explain(s, err)
	}
	show(s, x)
	return nil
}

// sameCommit says whether the chart in this program belongs to the images.
func sameCommit(set images.Set, self version.Info) error {
	for _, image := range set {
		_, commit, err := image.Version()
		if err != nil {
			return err
		}
		if commit != self.Commit {
			return fmt.Errorf("the chart in this program is of commit %s, and the image %s of commit %s", orUnknown(self.Commit), image.Name, orUnknown(commit))
		}
	}
	return nil
}

func orUnknown(commit string) string {
	if commit == "" {
		return "unknown"
	}
	return commit
}
