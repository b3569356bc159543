// Command build compiles the fleet's programs for several platforms and makes their
// images, bills of materials and archives; make images runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// run is
//
//	sources ──go build──▶ OUT/bin/PLATFORM/ ──▶ images.Set ──▶ OUT/oci, OUT/sbom, OUT/*.tar
//	                                                      └──▶ a registry
func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	var s settings
	if err := s.parse(args, errOut); err != nil {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	if s.compile {
		for _, p := range s.platforms {
			fmt.Fprintf(out, "compile for %s\n", p)
			if err := s.goBuild(ctx, p); err != nil {
				return err
			}
		}
	}
	set, boms, err := s.images()
	if err != nil {
		return err
	}
	o := output{settings: s, set: set, boms: boms, say: func(format string, args ...any) { fmt.Fprintf(out, format, args...) }}
	return o.write(ctx)
}

// settings are the flags.
type settings struct {
	release    images.Release
	out        string
	repository string
	platforms  []v1.Platform
	compile    bool
	archives   bool
	push       bool
	registry   images.Registry
	tags       string
	ldflags    string
}

func (s *settings) parse(args []string, errOut io.Writer) error {
	f := flag.NewFlagSet("build", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&s.out, "out", "dist/images", "folder for what is made")
	f.StringVar(&s.release.Version, "version", "", "version of the release")
	f.StringVar(&s.release.Source, "source", "https://fleet.nationtech.io", "URL of the source code, for the images' labels")
	f.StringVar(&s.repository, "repository", images.LocalRepository, "REGISTRY/PREFIX below which the images are named")
	list := f.String("platforms", "", "platforms, comma separated; by default all that there are")
	f.BoolVar(&s.compile, "compile", true, "compile the programs; false takes those of OUT/bin")
	f.BoolVar(&s.archives, "archives", true, "write a docker archive for each platform")
	f.BoolVar(&s.push, "push", false, "push the images to the registry of --repository")
	f.StringVar(&s.registry.CAFile, "ca-file", "", "PEM file of a CA that the registry's certificate is of")
	f.BoolVar(&s.registry.Plain, "plain-http", false, "ask the registry without TLS")
	f.StringVar(&s.tags, "tags", "", "build tags")
	f.StringVar(&s.ldflags, "ldflags", "", "flags for the linker")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if s.release.Version == "" {
		return errors.New("give --version, as git describe says it")
	}
	var err error
	if s.platforms, err = images.ParsePlatforms(*list); err != nil {
		return err
	}
	return images.CheckRepository(s.repository)
}

// clear removes what a build before left and this one may not replace: an archive or a
// program of another platform would be of another commit than the images beside it.
func (s *settings) clear() error {
	for _, p := range images.Platforms() {
		if err := os.RemoveAll(s.archive(p)); err != nil {
			return err
		}
		if !s.compile {
			continue
		}
		if err := os.RemoveAll(s.binDir(p)); err != nil {
			return err
		}
	}
	return nil
}

// binDir has the programs for a platform.
func (s *settings) binDir(p v1.Platform) string {
	return filepath.Join(s.out, "bin", images.FileName(p))
}

// images makes an image of each program.
func (s *settings) images() (set images.Set, boms []images.SBOM, err error) {
	builder, err := images.NewBuilder(s.release)
	if err != nil {
		return nil, nil, err
	}
	for _, program := range images.Programs() {
		var paths []string
		for _, p := range s.platforms {
			paths = append(paths, filepath.Join(s.binDir(p), program.Name))
		}
		image, some, err := builder.Build(program, paths)
		if err != nil {
			return nil, nil, err
		}
		set, boms = append(set, image), append(boms, some...)
	}
	return set, boms, nil
}
