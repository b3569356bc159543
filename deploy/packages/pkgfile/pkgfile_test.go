package pkgfile_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// made is a package of a program that is no more than its header.
func made(t testing.TB, f pkgfile.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	if err := binary.Write(&b, binary.LittleEndian, elf.Header64{Ident: ident, Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64}); err != nil {
		t.Fatal(err)
	}
	p, err := packages.Build(f, packages.Agent{Program: b.Bytes(), Arch: "amd64", Version: "v1", Date: time.Unix(1, 0), Maintainer: "Jane Doe <jane@example.org>"})
	if err != nil {
		t.Fatal(err)
	}
	return p.Content
}

func TestAPackageThatIsCutIsRefused(t *testing.T) {
	t.Parallel()
	for _, f := range pkgfile.Formats() {
		whole := made(t, f)
		if _, err := pkgfile.Read(whole); err != nil {
			t.Errorf("a whole %s: %v", f, err)
		}
		// The files of an rpm follow its headers, which alone are read.
		for n := 0; n < 5000 && n < len(whole); n += 7 {
			if p, err := pkgfile.Read(whole[:n]); err == nil && f == pkgfile.Deb {
				t.Errorf("a %s of %d of %d bytes is taken for whole: %+v", f, n, len(whole), p.Version)
			}
		}
	}
	if _, err := pkgfile.Read([]byte("\x7fELF")); err == nil {
		t.Error("a program is taken for a package")
	}
}

func FuzzRead(f *testing.F) {
	for _, format := range pkgfile.Formats() {
		f.Add(made(f, format))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if p, err := pkgfile.Read(content); err == nil && (p.Arch == "" || p.Version == "" || p.Sum == "") {
			t.Errorf("%+v", p)
		}
	})
}
