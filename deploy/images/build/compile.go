package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/images"
)

// goBuild compiles all programs for a platform: static, and without the paths of this
// machine, so that the same sources give the same bytes.
func (s *settings) goBuild(ctx context.Context, p v1.Platform) error {
	dir := s.binDir(p)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=auto", "-tags", s.tags, "-ldflags", s.ldflags, "-o", dir + string(os.PathSeparator)}
	for _, program := range images.Programs() {
		args = append(args, program.Package)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	// GOFLAGS is set, as the go command has other flags where a machine's settings have them.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOOS="+p.OS, "GOARCH="+p.Architecture)
	// Each level of a processor's instructions is other bytes; the lowest runs everywhere.
	switch p.Architecture {
	case "amd64":
		cmd.Env = append(cmd.Env, "GOAMD64=v1")
	case "arm64":
		cmd.Env = append(cmd.Env, "GOARM64=v8.0")
	case "arm":
		cmd.Env = append(cmd.Env, "GOARM=7")
	}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile for %s: %w", p, err)
	}
	return nil
}
