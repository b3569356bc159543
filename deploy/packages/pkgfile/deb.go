package pkgfile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A deb is an ar archive (deb(5)): each member has a header of 60 bytes, and begins at an
// even offset.
const (
	debMagic  = "!<arch>\n"
	arHeader  = 60
	arSizeAt  = 48
	arSizeEnd = 58
	arNameEnd = 16
	// maxMember bounds what is unpacked of a member.
	maxMember = 1 << 30
)

func readDeb(content []byte) (Package, error) {
	p := Package{Format: Deb, Content: content}
	fields := map[string]string{}
	for rest := content[len(debMagic):]; len(rest) > 0; {
		if len(rest) < arHeader {
			return p, errors.New("the deb is cut off")
		}
		name := strings.TrimRight(string(rest[:arNameEnd]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[arSizeAt:arSizeEnd])))
		if err != nil || size < 0 || size > len(rest)-arHeader {
			return p, errors.New("the deb is cut off")
		}
		member := rest[arHeader : arHeader+size]
		switch {
		case name == "control.tar.gz":
			err = inTar(member, "control", func(r io.Reader) (err error) { fields, err = controlFields(r); return err })
		case name == "data.tar.gz":
			err = inTar(member, program, func(r io.Reader) error {
				h := sha256.New()
				_, err := io.Copy(h, r)
				p.Sum = hex.EncodeToString(h.Sum(nil))
				return err
			})
		case strings.HasPrefix(name, "control.tar"), strings.HasPrefix(name, "data.tar"):
			err = fmt.Errorf("its member %s is not compressed by gzip, as make packages does it", name)
		}
		if err != nil {
			return p, fmt.Errorf("read the deb: %w", err)
		}
		rest = rest[min(arHeader+size+size%2, len(rest)):]
	}
	p.Version = fields["Version"]
	return named(p, fields["Package"], fields["Architecture"])
}

// inTar gives a file of a compressed tar to read.
func inTar(member []byte, name string, read func(io.Reader) error) error {
	z, err := gzip.NewReader(bytes.NewReader(member))
	if err != nil {
		return err
	}
	for t := tar.NewReader(io.LimitReader(z, maxMember)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.TrimPrefix(h.Name, "./") == name {
			return read(t)
		}
	}
}

// controlFields are the fields of one line each.
func controlFields(r io.Reader) (map[string]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields, err
}
