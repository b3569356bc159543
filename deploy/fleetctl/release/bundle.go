package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// NewBundle makes the command bundle.
func NewBundle(s cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry a release into a place without the internet, as one file",
		Long: `Carry a release into a place without the internet, as one file: the container images,
the programs, the Helm chart, and a checksum of each part. A bundle is a tar file, and its
first entry, bundle.json, says what it holds.

  outside  make images, then fleetctl bundle create
  inside   fleetctl bundle push, or fleetctl bundle export for a cluster without a registry;
           then fleetctl enroll --bundle`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCreate(s), newVerify(s), newPush(s), newExport(s))
	for _, c := range cmd.Commands() {
		complete.NoFiles(c)
	}
	return cmd
}

// open opens a bundle for a command, and shows how far that is.
func open(ctx context.Context, s cli.Streams, file string) (*bundle.Bundle, error) {
	p := render.NewProgress(s, "checking "+file)
	b, err := bundle.Open(ctx, file, p.Report)
	p.End()
	return b, explain(s, err)
}

// explain says of an error of a bundle what to try.
func explain(s cli.Streams, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("run the same command again")
	case errors.Is(err, fs.ErrNotExist):
		return cli.Failed(err, "the name of a file that is there")
	case errors.Is(err, bundle.ErrNot):
		return cli.Failed(err, s.Program()+" version")
	}
	return cli.Failed(err, "")
}

func newVerify(s cli.Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Compare each part of a bundle with its checksum, and say what it holds",
		Long: `Compare each part of a bundle with its checksum, and the images and programs with what
bundle.json says of them; then say what the bundle holds.

The checksums are in the bundle, so that they find damage and not a forger. To find a
forger, compare the printed sha256 with the one that the builder of the release published,
as fleetctl bundle create printed it. It is of bundle.json, which has the checksum of every
part. A bundle of other platforms has another sha256; its digests of each platform and its
checksums of programs and chart are the same.`,
		Example: "  fleetctl bundle verify fleet.bundle\n  fleetctl bundle verify fleet.bundle -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := complete.CheckTextOrJSON(output); err != nil {
				return err
			}
			b, err := open(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			if err := b.CheckPrograms(cmd.Context()); err != nil {
				return explain(s, err)
			}
			if ok, err := render.Document(s, output, contained{b.Index().SHA256, b.Index()}); ok {
				return err
			}
			show(s, b.Index())
			s.Tell("\nEach of the %d parts is whole.\n", len(b.Index().Parts))
			return nil
		},
	}
	complete.BindOutput(cmd, &output)
	return cmd
}

// contained is what -o json gives: bundle.json, and its own checksum.
type contained struct {
	SHA256 string `json:"sha256"`
	bundle.Index
}

// show says what a bundle holds. What a person compares with what a builder published is
// whole; Open and CheckPrograms compared it with the parts.
func show(s cli.Streams, x bundle.Index) {
	s.Tell("sha256     %s (of bundle.json)\n", x.SHA256)
	s.Tell("version    %s\n", render.Printable(x.Version))
	if x.Commit != "" {
		s.Tell("commit     %s\n", render.Printable(x.Commit))
	}
	for i, p := range x.Platforms {
		s.Tell("%-10s %s\n", first(i, "platforms"), render.Printable(p))
	}
	for i, image := range x.Images {
		s.Tell("%-10s %s:%s %s\n", first(i, "images"), render.Printable(image.Name), render.Printable(image.Tag), render.Printable(image.Digest))
		for _, m := range image.Manifests {
			s.Tell("%-10s   %s %s\n", "", render.Printable(cmp.Or(m.Platform, "of no platform")), render.Printable(m.Digest))
		}
	}
	for i, p := range x.Programs {
		s.Tell("%-10s %s for %s sha256:%s\n", first(i, "programs"), render.Printable(p.Name), render.Printable(p.Platform), render.Printable(p.SHA256))
	}
	var size int64
	for _, p := range x.Parts {
		size += p.Size
		if p.Path == x.Chart {
			s.Tell("chart      %s sha256:%s\n", render.Printable(p.Path), render.Printable(p.SHA256))
		}
	}
	s.Tell("size       %s\n", megabytes(size))
}

// first is a heading before the first of several lines.
func first(i int, heading string) string {
	if i == 0 {
		return heading
	}
	return ""
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
