package packages_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// program is the least that is a program of an architecture: the header of an ELF file.
func program(t *testing.T, machine elf.Machine) []byte {
	t.Helper()
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	var h any = elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	if machine == elf.EM_ARM {
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS32)
		h = elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 52}
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func agent(t *testing.T) packages.Agent {
	return packages.Agent{
		Program: program(t, elf.EM_X86_64), Arch: "amd64", Version: "v1.2.0", Date: time.Unix(1790000000, 0),
		Maintainer: "Jane Doe <jane@example.org>",
	}
}

func build(t *testing.T, f pkgfile.Format, a packages.Agent) packages.Package {
	t.Helper()
	p, err := packages.Build(f, a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTwoBuildsGiveEqualBytes(t *testing.T) {
	t.Parallel()
	for _, f := range pkgfile.Formats() {
		one := build(t, f, agent(t))
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // in another second
		if other := build(t, f, agent(t)); one.File != other.File || !bytes.Equal(one.Content, other.Content) {
			t.Errorf("%s: %s and %s differ", f, one.File, other.File)
		}
	}
}

func TestEachArchitectureHasItsProgram(t *testing.T) {
	t.Parallel()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}
	names := map[string][2]string{
		"amd64": {"fleet-agent_1.2.0-1_amd64.deb", "fleet-agent-1.2.0-1.x86_64.rpm"},
		"arm64": {"fleet-agent_1.2.0-1_arm64.deb", "fleet-agent-1.2.0-1.aarch64.rpm"},
		"arm":   {"fleet-agent_1.2.0-1_armhf.deb", "fleet-agent-1.2.0-1.armv7hl.rpm"},
	}
	for _, arch := range slices.Sorted(maps.Keys(machines)) {
		content := program(t, machines[arch])
		a := agent(t)
		a.Program, a.Arch = content, arch
		sum := sha256.Sum256(content)
		for i, f := range pkgfile.Formats() {
			p := build(t, f, a)
			if p.File != names[arch][i] {
				t.Errorf("the %s for %s is called %s, want %s", f, arch, p.File, names[arch][i])
			}
			said, err := pkgfile.Read(p.Content)
			if err != nil || said.Arch != arch || said.Version != "1.2.0-1" || said.Sum != hex.EncodeToString(sum[:]) {
				t.Errorf("%s is %s %s with program %s (%v)", p.File, said.Version, said.Arch, said.Sum, err)
			}
		}
		is, err := elf.NewFile(bytes.NewReader(debFiles(t, build(t, pkgfile.Deb, a))["usr/bin/fleet-agent"].text))
		if err != nil || is.Machine != machines[arch] {
			t.Errorf("the program for %s: %v, %v", arch, is, err)
		}
	}
}

func TestAnAgentThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set  func(*packages.Agent)
		says string
	}{
		"a program of another architecture": {func(a *packages.Agent) { a.Arch = "arm64" }, "is built for EM_X86_64"},
		"an architecture without agent":     {func(a *packages.Agent) { a.Arch = "riscv64" }, "riscv64"},
		"no program":                        {func(a *packages.Agent) { a.Program = []byte("#!/bin/sh") }, "not a program"},
		"no date":                           {func(a *packages.Agent) { a.Date = time.Time{} }, "date"},
		"no maintainer":                     {func(a *packages.Agent) { a.Maintainer = "" }, "maintainer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := agent(t)
			test.set(&a)
			if _, err := packages.Build(pkgfile.Deb, a); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
	if _, err := packages.Build("apk", agent(t)); err == nil || !strings.Contains(err.Error(), "deb and rpm") {
		t.Errorf("another format: %v", err)
	}
}

// What is the device's own is not a file of the package, so that no upgrade changes it or
// asks about it, and a removal keeps it.
func TestTheFilesOfADeb(t *testing.T) {
	t.Parallel()
	var got []string
	all := debFiles(t, build(t, pkgfile.Deb, agent(t)))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		got = append(got, f.mode+" "+name)
		if f.owner != "root:root" || f.time != 1790000000 {
			t.Errorf("%s is of %s and of %d", name, f.owner, f.time)
		}
	}
	want := []string{
		"-rwx------ etc/fleet-agent/", "-rwxr-xr-x usr/bin/fleet-agent", "-rw-r--r-- usr/lib/systemd/system/fleet-agent.service",
		"-rw-r--r-- usr/share/doc/fleet-agent/changelog.Debian.gz", "-rw-r--r-- usr/share/doc/fleet-agent/copyright",
		"-rw-r--r-- usr/share/doc/fleet-agent/examples/config.toml", "-rw-r--r-- usr/share/lintian/overrides/fleet-agent",
		"-rw-r--r-- usr/share/man/man5/fleet-agent.toml.5.gz", "-rw-r--r-- usr/share/man/man8/fleet-agent.8.gz",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheScriptsAreThoseOfAShell(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("scripts/*")
	if err != nil || len(scripts) != 6 {
		t.Fatalf("%v, %v", scripts, err)
	}
	for _, s := range scripts {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", s, err, out)
		}
	}
	control := members(t, build(t, pkgfile.Deb, agent(t)).Content)["control.tar.gz"]
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		f := unpack(t, control)[name]
		if f.mode != "-rwxr-xr-x" || !bytes.HasPrefix(f.text, []byte("#!/bin/sh\n")) || bytes.ContainsRune(f.text, '@') {
			t.Errorf("%s: %s\n%s", name, f.mode, f.text)
		}
	}
	if _, found := unpack(t, control)["conffiles"]; found {
		t.Error("the deb has conffiles, about which dpkg asks")
	}
}

type file struct {
	mode, owner string
	time        int64
	text        []byte
}

// debFiles are the files of a deb, and its directories but those that merely have some.
func debFiles(t *testing.T, p packages.Package) map[string]file {
	t.Helper()
	all := unpack(t, members(t, p.Content)["data.tar.gz"])
	maps.DeleteFunc(all, func(name string, f file) bool { return strings.HasSuffix(name, "/") && f.mode == "-rwxr-xr-x" })
	return all
}

// members are the members of an ar archive.
func members(t *testing.T, deb []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for rest := deb[8:]; len(rest) >= 60; {
		name, size := strings.TrimRight(string(rest[:16]), " /"), 0
		for _, digit := range strings.TrimSpace(string(rest[48:58])) {
			size = 10*size + int(digit-'0')
		}
		all[name] = rest[60 : 60+size]
		rest = rest[min(60+size+size%2, len(rest)):]
	}
	return all
}

func unpack(t *testing.T, member []byte) map[string]file {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(member))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]file{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(h.Name, "./")] = file{os.FileMode(h.Mode).String(), h.Uname + ":" + h.Gname, h.ModTime.Unix(), text}
	}
}
