// Package bundle puts a release into one file, for places without the internet: images,
// programs and the Helm chart, with a checksum of each part; and reads it.
//
// The file is a tar. Its first entry, bundle.json, lists all others in their order, with
// size and SHA-256, so that its own SHA-256 is one of all the bundle. The parts are
// compressed already. The same contents give the same bytes.
package bundle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Schema is what this version writes and reads. Another number is another layout.
const Schema = "fleet.nationtech.io/bundle/v1"

// indexFile is the first entry; the others are below imagesDir, programsDir or are
// chartFile.
const (
	indexFile   = "bundle.json"
	imagesDir   = "images"   // an OCI image layout
	programsDir = "programs" // PLATFORM/NAME.gz
	chartFile   = "chart/fleet.tgz"
)

// Limits of what is read, so that a file from elsewhere cannot fill memory or disk.
const (
	maxIndex   = 8 << 20
	maxParts   = 10_000
	maxPart    = 8 << 30
	maxProgram = 512 << 20
	maxChart   = 32 << 20
)

// Index says what a bundle holds.
type Index struct {
	Schema    string    `json:"schema"`
	Version   string    `json:"version"`          // of the release
	Commit    string    `json:"commit,omitempty"` // of git
	Platforms []string  `json:"platforms"`        // linux/arm/v7
	Images    []Image   `json:"images"`
	Programs  []Program `json:"programs,omitempty"`
	Chart     string    `json:"chart,omitempty"` // the part with the Helm chart; empty where there is none
	Parts     []Part    `json:"parts"`

	// SHA256 is of bundle.json itself, and so stands for every part. Write and Open tell it.
	SHA256 string `json:"-"`
}

// Image is an image of a bundle.
type Image struct {
	Name      string     `json:"name"`
	Tag       string     `json:"tag"`
	Digest    string     `json:"digest"`           // of the index in the bundle; with other platforms it is another
	Manifests []Manifest `json:"manifests"`        // the same in a bundle with fewer platforms
	Source    string     `json:"source,omitempty"` // where another's image was pulled from
}

// Manifest is the image of one platform.
type Manifest struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
}

// Program is a compressed program of a bundle.
type Program struct {
	Name     string `json:"name"`     // fleet-agent
	Platform string `json:"platform"` // linux/arm64
	Part     string `json:"part"`
	Size     int64  `json:"size"`   // uncompressed
	SHA256   string `json:"sha256"` // uncompressed
}

// Part is a file of a bundle.
type Part struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ErrNot is the error of a file that is no bundle of this schema.
var ErrNot = errors.New("not a bundle that this version reads")

// check refuses an index that is not as Write makes it.
func (x *Index) check() error {
	switch {
	case x.Schema == "":
		return fmt.Errorf("%w: %s names no schema", ErrNot, indexFile)
	case x.Schema != Schema:
		return fmt.Errorf("%w: its schema is %.100q, and this version reads %s: use the fleetctl of its release", ErrNot, x.Schema, Schema)
	case len(x.Parts) > maxParts:
		return fmt.Errorf("%d parts; a bundle has at most %d", len(x.Parts), maxParts)
	}
	seen := map[string]bool{}
	for _, p := range x.Parts {
		top, _, _ := strings.Cut(p.Path, "/")
		sum, err := hex.DecodeString(p.SHA256)
		switch {
		case !fs.ValidPath(p.Path) || strings.ContainsAny(p.Path, "\\:\x00") || p.Path != chartFile && top != imagesDir && top != programsDir:
			return fmt.Errorf("a part is called %.200q, which leads out of the bundle or to no place in it", p.Path)
		case seen[p.Path]:
			return fmt.Errorf("the part %s is listed twice", p.Path)
		case p.Size < 0 || p.Size > maxPart:
			return fmt.Errorf("the part %s has %d bytes; a part has at most %d", p.Path, p.Size, int64(maxPart))
		case err != nil || len(sum) != 32:
			return fmt.Errorf("the part %s has no SHA-256", p.Path)
		}
		seen[p.Path] = true
	}
	programs := map[[2]string]bool{}
	for _, p := range x.Programs {
		if programs[[2]string{p.Name, p.Platform}] {
			return fmt.Errorf("the program %.100q for %.100q is listed twice", p.Name, p.Platform)
		}
		programs[[2]string{p.Name, p.Platform}] = true
		if !seen[p.Part] || p.Name == "" || strings.ContainsAny(p.Name, "/\\") || !fs.ValidPath(p.Name) || p.Size < 0 || p.Size > maxProgram {
			return fmt.Errorf("the program %.100q for %.100q has no part, an impossible name or more than %d bytes", p.Name, p.Platform, int64(maxProgram))
		}
	}
	if x.Chart != "" && !seen[x.Chart] {
		return fmt.Errorf("the chart %.200q is no part", x.Chart)
	}
	return nil
}
