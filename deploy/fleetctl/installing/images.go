package installing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/images"
	"fleet.nationtech.io/eventlog/version"
)

// imageFlags say where the images come from.
type imageFlags struct {
	repository string
	bundle     string
	registry   string
	caFile     string
	plain      bool
}

func (f *imageFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.repository, "images", "", "`REGISTRY/PREFIX` below which the fleet's images of this version are (default what is installed, else the chart's)")
	flags.StringVar(&f.bundle, "bundle", "", "take the images from a bundle `file` (fleetctl bundle create)")
	flags.StringVar(&f.registry, "registry", "", "with --bundle: push its images to this `REGISTRY/PREFIX` and use them by digest; without it the nodes must have them")
	flags.StringVar(&f.caFile, "registry-ca-file", "", "with --registry: PEM file of a CA of its own")
	flags.BoolVar(&f.plain, "plain-http", false, "with --registry: reach it without TLS")
	for _, flag := range []string{"images", "registry"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	for _, flag := range []string{"bundle", "registry-ca-file"} {
		if err := cmd.MarkFlagFilename(flag); err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
}

// imageValues are the chart's values that name an image, by the image's own name.
var imageValues = map[string]string{"fleet-operator": "operator", "fleet-callout": "callout", "fleetctl": "fleetctl", "nats": "nats"}

// needed are the images without which no fleet runs; fleetctl makes the backups.
var needed = []string{"fleet-operator", "fleet-callout", "nats"}

// found is which images are used beside those of --images, and for which architectures
// they are; nil where that is not known.
func (f *imageFlags) found(ctx context.Context, s cli.Streams, dryRun bool) (values chart.Values, architectures []string, err error) {
	switch {
	case f.bundle == "" && f.registry != "":
		return nil, nil, cli.Misused(errors.New("--registry takes the images of a bundle, and none is given"), "--bundle FILE, or --images REGISTRY/PREFIX")
	case f.bundle != "" && f.repository != "":
		return nil, nil, cli.Misused(errors.New("--images and --bundle exclude each other"), "one of the two")
	case f.bundle != "":
		return f.fromBundle(ctx, s, dryRun)
	case f.repository == "":
		return nil, nil, nil
	}
	if err := images.CheckRepository(f.repository); err != nil {
		return nil, nil, cli.Misused(err, "--images registry.example.com/fleet")
	}
	return nil, nil, nil
}

func (f *imageFlags) fromBundle(ctx context.Context, s cli.Streams, dryRun bool) (chart.Values, []string, error) {
	p := render.NewProgress(s, "reading "+f.bundle)
	b, err := bundle.Open(ctx, f.bundle, p.Report)
	p.End()
	if err != nil {
		return nil, nil, cli.Failed(err, s.Program()+" bundle verify "+f.bundle)
	}
	defer func() { _ = b.Close() }() // it was read only
	index := b.Index()
	if index.Version != version.Version {
		return nil, nil, cli.Misused(fmt.Errorf("the bundle is of version %s, and this is %s", index.Version, version.Version),
			fmt.Sprintf("the fleetctl of the bundle: %s bundle export %s --programs FOLDER", s.Program(), f.bundle))
	}
	set, err := b.Images()
	if err != nil {
		return nil, nil, cli.Failed(err, s.Program()+" bundle verify "+f.bundle)
	}
	all := map[string]any{}
	if f.registry == "" || dryRun {
		for _, image := range set {
			if key := imageValues[image.Name]; key != "" {
				all[key] = image.Reference(f.below())
			}
		}
	} else if err := f.push(ctx, s, set, all); err != nil {
		return nil, nil, err
	}
	for _, name := range needed {
		if all[imageValues[name]] == nil {
			return nil, nil, cli.Misused(fmt.Errorf("the bundle has no image %s", name), s.Program()+" bundle create --image docker.io/library/nats@sha256:…")
		}
	}
	var architectures []string
	for _, platform := range index.Platforms {
		parts := strings.Split(platform, "/")
		architectures = append(architectures, parts[1])
	}
	slices.Sort(architectures)
	return chart.Values{"images": all}, slices.Compact(architectures), nil
}

// below is what the images are called below where they are not pushed.
func (f *imageFlags) below() string {
	if f.registry != "" {
		return f.registry
	}
	return images.LocalRepository
}

func (f *imageFlags) push(ctx context.Context, s cli.Streams, set images.Set, all map[string]any) error {
	p := render.NewProgress(s, "pushing to "+f.registry)
	done := uint64(0)
	pushed, err := set.Push(ctx, f.registry, images.Registry{
		CAFile: f.caFile, Plain: f.plain, Pushed: func(string) { done++; p.Report(done, uint64(len(set))) },
	})
	p.End()
	if err != nil {
		return cli.Failed(err, "--registry, its credentials (podman login), --registry-ca-file for a CA of its own")
	}
	for _, image := range pushed {
		if key := imageValues[image.Name]; key != "" {
			all[key] = image.Digest
		}
	}
	return nil
}
