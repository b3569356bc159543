// Package packages makes the agent's deb and rpm packages: the program, its hardened
// unit, its manual and the scripts of a package manager. Equal inputs give equal bytes.
package packages

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"

	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// release counts packagings of one version.
const release = "1"

// machines are the architectures as ELF files name them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}

// Agent is an agent that is packaged.
type Agent struct {
	Program    []byte
	Arch       string    // as Go names it: amd64, arm64 or arm
	Version    string    // as the program says it
	Date       time.Time // of the commit; the time of all files
	Maintainer string    // a name and an address, as Debian wants them
}

// Package is a package in memory.
type Package struct {
	File    string // its conventional name
	Content []byte
}

// Build makes a package of an agent.
func Build(f pkgfile.Format, a Agent) (Package, error) {
	arch, err := a.check(f)
	if err != nil {
		return Package{}, err
	}
	dir, err := os.MkdirTemp("", "fleet-packages-")
	if err != nil {
		return Package{}, err
	}
	defer os.RemoveAll(dir)
	s := stage{dir: dir, date: a.Date.UTC()}
	info := &nfpm.Info{
		Name: pkgfile.Name, Arch: arch, Platform: "linux", Version: Version(a.Version, a.Date), VersionSchema: "none", Release: release,
		Section: "admin", Priority: "optional", Maintainer: a.Maintainer, Vendor: "NationTech", License: "Apache-2.0",
		Description: summary + "\n" + description, MTime: s.date, DisableGlobbing: true,
	}
	info.Depends, info.Recommends = []string{"podman (>= 4)"}, []string{"ca-certificates"}
	info.Deb.Arch, info.RPM.Arch, info.Deb.Compression, info.RPM.Compression = arch, arch, "gzip", "gzip:9"
	if f == pkgfile.RPM {
		// Where a distribution's Podman has an epoch, it is newer than any version without,
		// also an older Podman. The epochs differ, so that none can be named here.
		info.Depends = []string{"podman >= 4"}
		info.Description = description
		info.RPM.Summary, info.RPM.BuildHost, info.RPM.Group = summary, "localhost", "System Environment/Daemons"
		info.RPM.Packager = a.Maintainer
	}
	for _, c := range contents(f, a, info.Version+"-"+release) {
		s.add(info, c)
	}
	s.scripts(info, f)
	if s.err != nil {
		return Package{}, fmt.Errorf("package %s for %s: %w", pkgfile.Name, a.Arch, s.err)
	}
	var packager nfpm.Packager = deb.Default
	if f == pkgfile.RPM {
		packager = rpm.DefaultRPM
	}
	p := Package{File: packager.ConventionalFileName(info)}
	var b bytes.Buffer
	if err := packager.Package(nfpm.WithDefaults(info), &b); err != nil {
		return Package{}, fmt.Errorf("make %s: %w", p.File, err)
	}
	p.Content = b.Bytes()
	return p, nil
}

// check gives the architecture as the format calls it, or says what is wrong with the
// agent, before a device finds out.
func (a Agent) check(f pkgfile.Format) (arch string, err error) {
	arch, ok := f.Arch(a.Arch)
	switch {
	case !slices.Contains(pkgfile.Formats(), f):
		return arch, fmt.Errorf("%q is no format of packages: there are deb and rpm", f)
	case !ok:
		return arch, fmt.Errorf("the agent is not made for architecture %q: there are amd64, arm64 and arm", a.Arch)
	case a.Date.IsZero():
		return arch, errors.New("a package needs a date: that of the commit")
	case a.Maintainer == "":
		return arch, errors.New("a package needs a maintainer: a name and an address")
	}
	program, err := elf.NewFile(bytes.NewReader(a.Program))
	if err != nil {
		return arch, fmt.Errorf("the agent for %s is not a program for Linux: %w", a.Arch, err)
	}
	if want := machines[a.Arch]; program.Machine != want {
		return arch, fmt.Errorf("the agent for %s is built for %v, not for %v", a.Arch, program.Machine, want)
	}
	return arch, nil
}

// stage is the directory that the packager reads.
type stage struct {
	dir  string
	date time.Time
	n    int
	err  error
}

// write writes a file for the packager, and gives its path.
func (s *stage) write(content []byte) string {
	s.n++
	path := filepath.Join(s.dir, fmt.Sprint(s.n))
	if err := os.WriteFile(path, content, 0o600); err != nil && s.err == nil {
		s.err = err
	}
	return path
}

func (s *stage) add(info *nfpm.Info, c content) {
	entry := &files.Content{
		Destination: c.path, Type: c.kind,
		FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: c.mode, MTime: s.date},
	}
	if c.kind != files.TypeDir {
		entry.Source = s.write(c.text)
	}
	info.Contents = append(info.Contents, entry)
}

func (s *stage) scripts(info *nfpm.Info, f pkgfile.Format) {
	for name, path := range map[string]*string{"postinst": &info.Scripts.PostInstall, "prerm": &info.Scripts.PreRemove, "postrm": &info.Scripts.PostRemove} {
		*path = s.write(Script(f, name))
	}
}
