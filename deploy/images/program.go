// Package images makes container images of the fleet's static binaries without a
// container engine: from scratch, for several platforms, and with a bill of materials
// beside each. The same binaries give the same digests.
package images

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// User runs in the images unless the pod names another user: a number, since Kubernetes'
// runAsNonRoot cannot judge a name. Any other user works as well, as on OpenShift.
const User = "65532:65532"

// Licence is the SPDX identifier of the licence that all images are under.
const Licence = "Apache-2.0"

// BinaryDir is where an image has its program, and what its PATH is.
const BinaryDir = "/usr/local/bin"

// Program is a program that gets an image.
type Program struct {
	Name        string // of the binary, the image and the entrypoint: fleet-operator
	Package     string // of the program, below the root of the sources: ./operator/cmd/fleet-operator
	Description string // a sentence for the image's labels
	Ports       []int  // TCP ports that it listens on where no flag says otherwise
}

// Programs lists the programs that get images.
func Programs() []Program {
	return []Program{
		{"fleet-agent", "./agent/cmd/fleet-agent", "Keeps a device as the fleet wants it.", nil},
		{"fleet-callout", "./callout/cmd/fleet-callout", "Lets devices, persons and services into NATS by their tokens.", []int{18081}},
		{"fleet-hello", "./agent/cmd/fleet-hello", "Answers with one line: the server of the samples.", []int{8080}},
		{"fleet-operator", "./operator/cmd/fleet-operator", "Decides what runs on which devices, and shows how they are.", []int{18082}},
		{"fleetctl", "./deploy/cmd/fleetctl", "Inspects and controls a fleet.", nil},
	}
}

// Release is what the images of one build share.
type Release struct {
	Version string // what the binaries' linker was told
	Source  string // URL of the source code
}

// notInTags is what a tag may not hold; the plus of a semantic version is the usual one.
var notInTags = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// Tag is the tag of the release's images: the version, with _ for what no tag may hold.
func (r Release) Tag() string {
	tag := notInTags.ReplaceAllString(r.Version, "_")
	if tag != "" && strings.ContainsRune(".-", rune(tag[0])) {
		tag = "_" + tag[1:]
	}
	return tag[:min(len(tag), 128)]
}

// platforms are those that there are devices and nodes of.
var platforms = []v1.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm", Variant: "v7"},
	{OS: "linux", Architecture: "arm64"},
}

// Platforms lists the platforms that images are made for.
func Platforms() []v1.Platform { return slices.Clone(platforms) }

// ParsePlatforms reads a list such as linux/amd64,linux/arm/v7; of the platforms that
// there are, in their order, each once. Nothing means all.
func ParsePlatforms(list string) ([]v1.Platform, error) {
	if list == "" {
		return Platforms(), nil
	}
	asked := map[string]bool{}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == "linux/arm" {
			word = "linux/arm/v7"
		}
		if !slices.ContainsFunc(platforms, func(p v1.Platform) bool { return p.String() == word }) {
			return nil, fmt.Errorf("there is no platform %q; images are made for %s", word, platformList(platforms))
		}
		asked[word] = true
	}
	return slices.DeleteFunc(Platforms(), func(p v1.Platform) bool { return !asked[p.String()] }), nil
}

func platformList(all []v1.Platform) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// FileName is how a platform is called in the names of files: linux-arm-v7.
func FileName(p v1.Platform) string { return strings.ReplaceAll(p.String(), "/", "-") }

// annotations are the labels and annotations of OCI's image-spec 1.1, annotations.md.
func annotations(p Program, r Release, revision string, created time.Time) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       p.Name,
		"org.opencontainers.image.description": p.Description,
		"org.opencontainers.image.version":     r.Version,
		"org.opencontainers.image.revision":    revision,
		"org.opencontainers.image.source":      r.Source,
		"org.opencontainers.image.licenses":    Licence,
		"org.opencontainers.image.created":     created.Format(time.RFC3339),
	}
	for key, value := range all {
		if value == "" {
			delete(all, key)
		}
	}
	return all
}
