package enroll

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// Packages finds the agent's package for a device, and reads it once for all devices.
type Packages struct {
	// Place is a package, or a directory that may have packages.
	Place string

	mu   sync.Mutex
	read map[string]pkgfile.Package
}

// For gives the package for a device; nil: there is none, and the binary is installed.
// A package that a person named has to do for the device.
func (p *Packages) For(f Facts) (*pkgfile.Package, error) {
	if p == nil {
		return nil, nil
	}
	info, err := os.Stat(p.Place)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		found, err := p.load(p.Place)
		if err == nil {
			err = misfit(*found, f, p.Place)
		}
		if err != nil {
			return nil, err
		}
		return found, nil
	}
	arch, ok := f.Manager.Arch(f.Arch())
	if !ok || !f.PodmanPackaged {
		return nil, nil
	}
	pattern := map[pkgfile.Format]string{pkgfile.Deb: "_*_" + arch + ".deb", pkgfile.RPM: "-*." + arch + ".rpm"}[f.Manager]
	files, err := filepath.Glob(filepath.Join(p.Place, pkgfile.Name+pattern))
	switch {
	case err != nil:
		return nil, err
	case len(files) == 0:
		return nil, nil
	case len(files) > 1:
		return nil, fmt.Errorf("%s has %d packages for %s", p.Place, len(files), arch)
	}
	return p.load(files[0])
}

func (p *Packages) load(file string) (*pkgfile.Package, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.read[file]
	if !ok {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if found, err = pkgfile.Read(content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if p.read == nil {
			p.read = map[string]pkgfile.Package{}
		}
		p.read[file] = found
	}
	return &found, nil
}
