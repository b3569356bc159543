package images

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// SBOMType is the media type of the bills of materials, and the type by which a
// registry lists them as referrers of an image.
const SBOMType = "application/vnd.cyclonedx+json"

// SBOM is the bill of materials of a program for one platform, by CycloneDX 1.6.
type SBOM struct {
	Program  string
	Platform v1.Platform
	JSON     []byte
}

// FileName is the name of its file: fleet-operator_linux-amd64.cdx.json.
func (s SBOM) FileName() string { return s.Program + "_" + FileName(s.Platform) + ".cdx.json" }

// newSBOM lists what the go command says that it built the binary of. It has neither a
// random number nor a time of now, so that the same binary has the same bill.
func newSBOM(p Program, r Release, b binary) (SBOM, error) {
	bom := cdx.NewBOM()
	program := cdx.Component{
		BOMRef: "program", Type: cdx.ComponentTypeApplication, Name: p.Name, Version: r.Version, Description: p.Description,
		PackageURL: purl(b.build.Main.Path, r.Version) + "#" + strings.TrimPrefix(strings.TrimPrefix(b.build.Path, b.build.Main.Path), "/"),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: b.sum}},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: Licence}}},
		Properties: properties("fleet:platform", b.platform.String(), "fleet:commit", b.info.Commit),
	}
	bom.Metadata = &cdx.Metadata{Timestamp: b.created.Format(time.RFC3339), Component: &program}
	components := []cdx.Component{{
		BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Description: "Go's standard library",
		Version: strings.TrimPrefix(b.build.GoVersion, "go"), PackageURL: purl("std", strings.TrimPrefix(b.build.GoVersion, "go")),
	}}
	for _, dep := range b.build.Deps {
		path, version, sum := dep.Path, dep.Version, dep.Sum
		if dep.Replace != nil && dep.Replace.Sum != "" { // else a folder of the same sources has it
			path, version, sum = dep.Replace.Path, dep.Replace.Version, dep.Replace.Sum
		}
		if sum == "" { // a module of our own sources
			version = r.Version
		}
		components = append(components, cdx.Component{
			BOMRef: path, Type: cdx.ComponentTypeLibrary, Name: path, Version: version,
			PackageURL: purl(path, version), Properties: properties("fleet:go.sum", sum),
		})
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &components
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return SBOM{}, err
	}
	return SBOM{Program: p.Name, Platform: b.platform, JSON: text.Bytes()}, nil
}

// purl is a module's package URL (purl-spec, type golang), in the letters that the
// module path has, as Go and its database of vulnerabilities compare it.
func purl(module, version string) string {
	return fmt.Sprintf("pkg:golang/%s@%s", module, strings.ReplaceAll(version, "+", "%2B"))
}

func properties(pairs ...string) *[]cdx.Property {
	var all []cdx.Property
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, cdx.Property{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	if all == nil {
		return nil
	}
	return &all
}

// attachSBOM makes a bill of materials and the artifact that attaches it to its image.
func attachSBOM(p Program, r Release, b binary, subject v1.Descriptor) (SBOM, v1.Image, error) {
	bom, err := newSBOM(p, r, b)
	if err != nil {
		return SBOM{}, nil, err
	}
	// Registries take the configuration's media type for that of the artifact.
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), SBOMType)
	if artifact, err = mutate.AppendLayers(artifact, static.NewLayer(bom.JSON, SBOMType)); err != nil {
		return SBOM{}, nil, err
	}
	subject.Platform = nil
	attached, ok := mutate.Subject(mutate.Annotations(artifact, map[string]string{
		"org.opencontainers.image.title":   bom.FileName(),
		"org.opencontainers.image.created": b.created.Format(time.RFC3339),
	}), subject).(v1.Image)
	if !ok {
		return SBOM{}, nil, errors.New("an artifact with a subject is no artifact any more")
	}
	return bom, attached, nil
}
