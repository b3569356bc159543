package images

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/eventlog/version"
)

// maxBinary is the most bytes that a program may have: ten times what the largest has.
const maxBinary = 512 << 20

// binary is a static program for Linux and what the go command wrote into it.
type binary struct {
	path     string
	size     int64
	sum      string // SHA-256 in hex
	platform v1.Platform
	build    *buildinfo.BuildInfo
	info     version.Info
	created  time.Time // of its commit; the beginning of Unix time where it is of none
}

// Inspect says for which platform a static program is, and how it was built.
func Inspect(path string) (v1.Platform, version.Info, error) {
	b, err := readBinary(path, "")
	return b.platform, b.info, err
}

// readBinary looks at a program and refuses one that would not start in an empty image.
func readBinary(path, release string) (binary, error) {
	f, err := elf.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return binary{}, err
		}
		return binary{}, fmt.Errorf("%s is not a program for Linux: %w", path, err)
	}
	defer f.Close()
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			return binary{}, fmt.Errorf("%s needs a dynamic loader, which an empty image does not have: build it with CGO_ENABLED=0", path)
		}
	}
	b := binary{path: path, created: time.Unix(0, 0).UTC()}
	if b.build, err = buildinfo.ReadFile(path); err != nil {
		return binary{}, fmt.Errorf("%s was not built by the go command: %w", path, err)
	}
	b.info = version.Of(release, b.build)
	p, err := v1.ParsePlatform(b.info.Platform)
	if err != nil || p.OS != "linux" {
		return binary{}, fmt.Errorf("%s is for %s; images are for Linux", path, b.info.Platform)
	}
	b.platform = *p
	if at, err := time.Parse(time.RFC3339, b.info.CommitTime); err == nil {
		b.created = at.UTC()
	}
	file, err := os.Open(path)
	if err != nil {
		return binary{}, err
	}
	defer file.Close()
	sum := sha256.New()
	if b.size, err = io.Copy(sum, io.LimitReader(file, maxBinary+1)); err != nil {
		return binary{}, err
	}
	if b.size > maxBinary {
		return binary{}, fmt.Errorf("%s has more than %d bytes", path, int64(maxBinary))
	}
	b.sum = hex.EncodeToString(sum.Sum(nil))
	return b, nil
}
