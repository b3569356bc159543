package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/deploy/wholefile"
)

// registryFlags say how a registry is reached.
type registryFlags struct {
	caFile string
	plain  bool
}

func (f *registryFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.caFile, "registry-ca-file", "", "PEM `file` of a CA that the registry's certificate is of, beside the public ones")
	cmd.Flags().BoolVar(&f.plain, "plain-http", false, "reach the registry without TLS")
	complete.File(cmd, "registry-ca-file")
}

func (f *registryFlags) registry() images.Registry {
	return images.Registry{CAFile: f.caFile, Plain: f.plain}
}

// explainRegistry says of a registry's error what to try, and after an interruption how to
// resume.
func explainRegistry(err error, resume string) error {
	if errors.Is(err, context.Canceled) {
		return cli.Interrupted(resume)
	}
	return cli.Failed(err, "the registry's name and credentials; --registry-ca-file for a CA of its own")
}

func newPush(s cli.Streams) *cobra.Command {
	var r registryFlags
	var output string
	cmd := &cobra.Command{
		Use:   "push FILE REGISTRY/PREFIX",
		Short: "Push a bundle's images to a registry",
		Long: `Push a bundle's images to a registry, for all platforms, with their bills of materials. An
image is called REGISTRY/PREFIX/NAME:TAG then; the answer has that and the digest.

The registry gets the credentials that docker login or podman login left. Run the same
command again to resume after an interruption: what the registry has is not sent again.`,
		Example: `  fleetctl bundle push fleet.bundle registry.example.com/fleet
  fleetctl bundle push fleet.bundle registry.example.com/fleet -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := complete.CheckTextOrJSON(output); err != nil {
				return err
			}
			if err := images.CheckRepository(args[1]); err != nil {
				return cli.Misused(err, s.Program()+" bundle push "+args[0]+" registry.example.com/fleet")
			}
			b, err := open(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			set, err := b.Images()
			if err != nil {
				return explain(s, err)
			}
			registry := r.registry()
			p := render.NewProgress(s, "pushing to "+args[1])
			done := uint64(0)
			registry.Pushed = func(string) { done++; p.Report(done, uint64(len(set))) }
			pushed, err := set.Push(cmd.Context(), args[1], registry)
			p.End()
			if err != nil {
				return explainRegistry(err, "run the same command again: what the registry has is not sent again")
			}
			if ok, err := render.Document(s, output, pushed); ok {
				return err
			}
			for _, image := range pushed {
				s.Tell("%s\n%s\n", image.Tag, image.Digest)
			}
			return nil
		},
	}
	r.bind(cmd)
	complete.BindOutput(cmd, &output)
	return cmd
}

// exportFlags are the flags of export.
type exportFlags struct {
	platform, repository    string
	images, programs, chart string
}

func newExport(s cli.Streams) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Take images, programs or the chart out of a bundle",
		Long: `Take images, programs or the chart out of a bundle.

--images writes a docker archive with the images of one platform, for the nodes of a cluster
without a registry: docker load, podman load, ctr -n k8s.io images import, k3d image import
and kind load image-archive take it. The images are called localhost/NAME:TAG, or as
--repository says.

--programs writes the programs into a folder, as NAME-linux-ARCH, where fleetctl enroll
--agent finds the agent. --chart writes the Helm chart, which helm install takes.`,
		Example: `  fleetctl bundle export fleet.bundle --images images.tar --platform linux/arm64
  fleetctl bundle export fleet.bundle --programs agents/ --chart fleet.tgz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return export(cmd.Context(), s, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.images, "images", "", "docker archive to write, a `file`")
	flags.StringVar(&f.platform, "platform", "", "with --images: the platform (default the bundle's, where it has one)")
	flags.StringVar(&f.repository, "repository", images.LocalRepository, "with --images: what the images are called below")
	flags.StringVar(&f.programs, "programs", "", "`folder` for the programs of all platforms")
	flags.StringVar(&f.chart, "chart", "", "`file` for the Helm chart")
	for _, flag := range []string{"images", "programs", "chart"} {
		complete.File(cmd, flag)
	}
	complete.Flag(cmd, "platform", complete.Words(platformNames()))
	return cmd
}

func export(ctx context.Context, s cli.Streams, file string, f exportFlags) error {
	if f.images == "" && f.programs == "" && f.chart == "" {
		return cli.Misused(errors.New("nothing to export was named"), "--images images.tar, --programs FOLDER or --chart fleet.tgz")
	}
	b, err := open(ctx, s, file)
	if err != nil {
		return err
	}
	defer b.Close()
	if f.images != "" {
		if err := exportImages(s, b, f); err != nil {
			return err
		}
	}
	if f.programs != "" {
		if err := exportPrograms(s, b, f.programs); err != nil {
			return explain(s, err)
		}
	}
	if f.chart == "" {
		return nil
	}
	text, err := b.ChartArchive()
	if err == nil {
		err = wholefile.Write(f.chart, 0o644, text)
	}
	if err == nil {
		s.Tell("%s has the Helm chart\n", f.chart)
	}
	return explain(s, err)
}

func exportImages(s cli.Streams, b *bundle.Bundle, f exportFlags) error {
	platform := f.platform
	if all := b.Index().Platforms; platform == "" {
		if len(all) != 1 {
			return cli.Misused(fmt.Errorf("the bundle has images for %s", strings.Join(all, ", ")), "--platform "+platformNames()[0])
		}
		platform = all[0]
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return cli.Misused(err, "--platform "+platformNames()[0])
	}
	if err := images.CheckRepository(f.repository); err != nil {
		return cli.Misused(err, "--repository registry.example.com/fleet")
	}
	set, err := b.Images()
	if err != nil {
		return explain(s, err)
	}
	err = wholefile.Stream(f.images, 0o644, func(w io.Writer) error { return set.WriteArchive(w, *p, f.repository) })
	if err != nil {
		return explain(s, err)
	}
	for _, image := range set {
		s.Tell("%s\n", image.Reference(f.repository))
	}
	s.Tell("%s has these images for %s\n", f.images, platform)
	return nil
}

func exportPrograms(s cli.Streams, b *bundle.Bundle, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range b.Index().Programs {
		content, err := b.Program(p.Name, p.Platform)
		if err != nil {
			return err
		}
		platform, err := v1.ParsePlatform(p.Platform)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, p.Name+"-"+platform.OS+"-"+platform.Architecture)
		if err := wholefile.Write(file, 0o755, content); err != nil {
			return err
		}
		s.Tell("%s\n", file)
	}
	return nil
}
