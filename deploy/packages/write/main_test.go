package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write writes the packages of a version into a directory.
func write(t *testing.T, dir, version, agent string) error {
	t.Helper()
	return run([]string{"-out", dir, "-version", version, "-date", "1790000000", "-maintainer", "Jane Doe <jane@example.org>", "amd64=" + agent})
}

// header is the least that is a program: the header of an ELF file.
func header(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent")
	elf := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	elf[16], elf[18], elf[20], elf[52] = 2, 62, 1, 64 // executable, x86-64, version 1, size
	if err := os.WriteFile(file, elf, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestTheDirectoryHasThePackagesOfOneVersion(t *testing.T) {
	t.Parallel()
	dir, agent := filepath.Join(t.TempDir(), "packages"), header(t)
	for _, version := range []string{"v1.0.0", "v1.1.0-rc.1", "0123456"} {
		if err := write(t, dir, version, agent); err != nil {
			t.Fatal(err)
		}
	}
	theirs := []string{"Packages", "fleet-agent-extras-1-1.x86_64.rpm", "fleet-agent_1.0.0-1_s390x.deb", "fleet-operator_1-1_amd64.deb"}
	for _, name := range append([]string{"fleet-agent_0.9-1_armhf.deb", "fleet-agent-0.9-1.aarch64.rpm"}, theirs...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(t, dir, "v1.2.0", agent); err != nil {
		t.Fatal(err)
	}
	want := append([]string{"fleet-agent_1.2.0-1_amd64.deb", "fleet-agent-1.2.0-1.x86_64.rpm"}, theirs...)
	slices.Sort(want)
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// What cannot be made replaces nothing.
	if err := write(t, dir, "v1.3.0", "main.go"); err == nil {
		t.Error("a source is taken for a program")
	}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("after a failure (-want +got)\n%s", diff)
	}
}
