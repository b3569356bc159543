package enroll

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Binary is the agent for one architecture.
type Binary struct {
	Path    string
	Content []byte
	Sum     string // SHA-256, in hex
}

// BinaryName is how the agent for an architecture is called in a directory.
func BinaryName(arch string) string { return "fleet-agent-linux-" + arch }

// Binaries finds the agent for an architecture, and reads it once for all devices.
type Binaries struct {
	// Place is the agent itself, or a directory that has fleet-agent-linux-ARCH.
	Place string
	// Bundled gives the agent for a platform such as linux/arm/v7 out of a bundle. Where it
	// is set, Place is only what the bundle is called.
	Bundled func(platform string) ([]byte, error)

	mu   sync.Mutex
	read map[string]Binary
}

// machines are the architectures as ELF files name them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}

// For gives the agent for an architecture.
func (b *Binaries) For(arch string) (Binary, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found, ok := b.read[arch]; ok {
		return found, nil
	}
	found, err := b.find(arch)
	if err != nil {
		return Binary{}, err
	}
	if b.read == nil {
		b.read = map[string]Binary{}
	}
	b.read[arch] = found
	return found, nil
}

// platforms are the architectures as bundles name them.
var platforms = map[string]string{"amd64": "linux/amd64", "arm64": "linux/arm64", "arm": "linux/arm/v7"}

func (b *Binaries) find(arch string) (Binary, error) {
	if b.Bundled != nil {
		content, err := b.Bundled(platforms[arch])
		if err != nil {
			return Binary{}, err
		}
		return newBinary(b.Place, content, arch)
	}
	info, err := os.Stat(b.Place)
	if err != nil {
		return Binary{}, err
	}
	files := []string{b.Place}
	if info.IsDir() {
		// The plain name is what a build for this machine makes.
		files = []string{filepath.Join(b.Place, BinaryName(arch)), filepath.Join(b.Place, "fleet-agent")}
	}
	var errs []error
	for _, file := range files {
		found, err := readBinary(file, arch)
		if err == nil {
			return found, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Binary{}, errors.Join(errs...)
	}
	return Binary{}, fmt.Errorf("%s has neither %s nor fleet-agent", b.Place, BinaryName(arch))
}

func readBinary(file, arch string) (Binary, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return Binary{}, err
	}
	return newBinary(file, content, arch)
}

// newBinary refuses what does not run on a device of the architecture.
func newBinary(file string, content []byte, arch string) (Binary, error) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return Binary{}, fmt.Errorf("%s is not a program for Linux", file)
	}
	defer f.Close()
	if f.Machine != machines[arch] {
		return Binary{}, fmt.Errorf("%s is for %s", file, strings.TrimPrefix(f.Machine.String(), "EM_"))
	}
	sum := sha256.Sum256(content)
	return Binary{Path: file, Content: content, Sum: hex.EncodeToString(sum[:])}, nil
}
