package podman

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/specgen"
	"github.com/opencontainers/runtime-spec/specs-go"
	"go.podman.io/common/libnetwork/types"
	"go.podman.io/image/v5/manifest"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// cpuPeriod is the scheduler's period in which a limit of processors is counted,
// in microseconds: the kernel's default.
const cpuPeriod = 100_000

// Create makes a container, or adopts the one that the same spec made before: an
// agent that died after the last create finds what it left.
func (p *Podman) Create(ctx context.Context, spec engine.Spec) (string, error) {
	if spec.Device != p.options.Device {
		return "", &engine.Error{
			Class: engine.ClassChange, Reason: engine.ReasonCreateFailed,
			Err: fmt.Errorf("this engine is of device %q, not of %q", p.options.Device, spec.Device),
		}
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return "", err
	}
	files, err := p.writeConfigs(spec)
	if err != nil {
		return "", &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonCreateFailed, Err: err}
	}
	for {
		ports, err := mappings(ctx, spec.Service)
		if err != nil {
			return "", &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonCreateFailed, Err: err}
		}
		made, err := containers.CreateWithSpec(conn, generator(spec, files, ports), nil)
		if err == nil {
			p.record(made.ID)
			return made.ID, nil
		}
		err = fail(ctx, engine.ReasonCreateFailed, err)
		var refused *engine.Error
		if !errors.As(err, &refused) || refused.Reason != engine.ReasonNameTaken {
			return "", err
		}
		id, err := p.adopt(conn, spec, refused)
		if !gone(err) {
			return id, err
		}
		if err := p.clearHalfMade(ctx, conn, refused); err != nil {
			return "", err
		}
	}
}

// adopt gives the container that has the spec's name, if it was made from it.
func (p *Podman) adopt(conn context.Context, spec engine.Spec, refused *engine.Error) (string, error) {
	i, err := p.inspect(conn, spec.Name())
	if err != nil {
		return "", err
	}
	c := i.container
	switch {
	case c.Foreign != "":
	case c.Identity == spec.Identity && c.Hash == spec.Service.Hash:
		return c.ID, nil
	case c.Identity == spec.Identity:
		return "", refused // of an earlier score: the next plan sees it, and replaces it
	}
	return "", &engine.Error{
		Class: engine.ClassRetrySlowly, Reason: engine.ReasonNameTaken,
		Err: fmt.Errorf("the name %s is taken by container %.12s, which is not the fleet's: remove or rename it", spec.Name(), c.ID),
	}
}

// generator writes a spec in Podman's terms.
func generator(spec engine.Spec, files []specs.Mount, ports []types.PortMapping) *specgen.SpecGenerator {
	s := spec.Service
	g := specgen.NewSpecGenerator(s.Image, false)
	g.RawImageName = s.Image
	g.Name = spec.Name()
	g.Labels = spec.Labels()
	g.Env = spec.Env()
	g.Entrypoint, g.Command = s.Command, s.Args
	g.User = s.User
	g.RestartPolicy = "no" // restarts are the agent's, with back-off
	grace := uint(engine.StopGrace.Seconds())
	g.StopTimeout = &grace
	// An image's own check would run on systemd's timers, for nobody to see.
	g.HealthConfig = &manifest.Schema2HealthConfig{Test: []string{"NONE"}}
	g.CapAdd, g.CapDrop = upper(s.CapAdd), upper(s.CapDrop)
	if s.ReadOnly {
		g.ReadOnlyFilesystem = &s.ReadOnly
	}
	switch s.Network {
	case score.NetworkHost:
		g.NetNS.NSMode = specgen.Host
	case score.NetworkNone:
		g.NetNS.NSMode = specgen.NoNetwork
	default:
		g.NetNS.NSMode = specgen.Bridge
		g.PortMappings = ports
	}
	g.ResourceLimits = limits(s.Resources)
	g.Mounts = files
	for _, v := range s.Volumes {
		if v.Name != "" {
			g.Volumes = append(g.Volumes, &specgen.NamedVolume{Name: spec.VolumeName(v.Name), Dest: v.Path, Options: v.Options})
			continue
		}
		g.Mounts = append(g.Mounts, specs.Mount{
			Type: "bind", Source: v.Host, Destination: v.Path, Options: append([]string{"rbind"}, v.Options...),
		})
	}
	return g
}

func limits(r score.Resources) *specs.LinuxResources {
	if r == (score.Resources{}) {
		return nil
	}
	l := &specs.LinuxResources{}
	if r.Memory > 0 {
		l.Memory = &specs.LinuxMemory{Limit: &r.Memory}
	}
	if r.MilliCPU > 0 {
		quota, period := r.MilliCPU*cpuPeriod/1000, uint64(cpuPeriod)
		l.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	if r.PIDs > 0 {
		l.Pids = &specs.LinuxPids{Limit: r.PIDs}
	}
	return l
}

func upper(capabilities []string) []string {
	out := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		out = append(out, strings.ToUpper(c))
	}
	return out
}

// configDir holds the files of one service at one hash, so that a container is
// never shown the files of its successor.
func (p *Podman) configDir(i engine.Identity, hash string) string {
	short := sha256.Sum256([]byte(hash))
	return filepath.Join(p.options.DataDir, "configs", i.Name(), hex.EncodeToString(short[:6]))
}

// writeConfigs puts a service's configs on disk and gives their mounts, read-only.
// They can be read by any user, as the container's is not known here.
func (p *Podman) writeConfigs(spec engine.Spec) ([]specs.Mount, error) {
	if len(spec.Service.Configs) == 0 {
		return nil, nil
	}
	dir, err := filepath.Abs(p.configDir(spec.Identity, spec.Service.Hash))
	if err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see above
		return nil, fmt.Errorf("configs: %w", err)
	}
	var mounts []specs.Mount
	for n, path := range slices.Sorted(maps.Keys(spec.Service.Configs)) {
		file := filepath.Join(dir, strconv.Itoa(n))
		if err := writeDurably(file, spec.Service.Configs[path]); err != nil {
			return nil, fmt.Errorf("configs: %w", err)
		}
		mounts = append(mounts, specs.Mount{
			Type: "bind", Source: file, Destination: path,
			Options: []string{"rbind", "ro", "z"}, // z: readable under SELinux too
		})
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	return mounts, nil
}

// writeDurably writes text so that it survives a loss of power: the container that
// is made after it does, and would be started again with a file that is empty.
func writeDurably(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // any user reads it, see writeConfigs
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in a folder survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
