package packages

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2/files"

	"fleet.nationtech.io/agent/manual"
	"fleet.nationtech.io/deploy/enroll/unit"
	"fleet.nationtech.io/deploy/packages/pkgfile"
)

// What package managers show: a line, and what is below it.
const (
	summary     = "keeps a device as its fleet wants it"
	description = `The agent connects to the NATS servers of its fleet, learns which containers
the device should run, and makes that so with Podman. A fleet is administered
as resources of Kubernetes.

Until the device is enrolled (fleetctl enroll), its unit starts nothing.`
)

// content is a file or a directory of a package.
type content struct {
	path string
	mode fs.FileMode
	text []byte
	kind string // of nfpm's
}

// contents are what a package has. The configuration and the key are not among them:
// they are the device's own, which no upgrade may change or ask about.
func contents(f pkgfile.Format, a Agent, version string) []content {
	const docs, pages = "/usr/share/doc/" + pkgfile.Name, "/usr/share/man"
	all := []content{
		{unit.PackagedAgentPath, 0o755, a.Program, ""},
		{unit.PackagedPath, 0o644, unit.Packaged(), ""},
		{"/etc/fleet-agent", 0o700, nil, files.TypeDir},
		{pages + "/man8/fleet-agent.8.gz", 0o644, compress(manual.Program(version, a.Date)), ""},
		{pages + "/man5/fleet-agent.toml.5.gz", 0o644, compress(manual.Configuration(version, a.Date)), ""},
		{docs + "/examples/config.toml", 0o644, manual.Example(), ""},
		{docs + "/copyright", 0o644, copyright, ""},
	}
	if f == pkgfile.Deb {
		all = append(all,
			content{docs + "/changelog.Debian.gz", 0o644, compress(changelog(a, version)), ""},
			content{"/usr/share/lintian/overrides/" + pkgfile.Name, 0o644, overrides, ""})
	}
	return all
}

//go:embed copyright
var copyright []byte

//go:embed lintian
var overrides []byte

// changelog names this version alone: the commits say what changed.
func changelog(a Agent, version string) []byte {
	return fmt.Appendf(nil, "%s (%s) stable; urgency=medium\n\n  * Built from %s.\n\n -- %s  %s\n",
		pkgfile.Name, version, a.Version, a.Maintainer, a.Date.UTC().Format(time.RFC1123Z))
}

// compress is gzip -9n.
func compress(text []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil { // of a buffer in memory, and of a level that there is
		panic(err)
	}
	return b.Bytes()
}

//go:embed scripts
var scripts embed.FS

// scriptNames are how each format calls its scripts.
var scriptNames = map[pkgfile.Format]map[string]string{
	pkgfile.Deb: {"postinst": "deb.postinst", "prerm": "deb.prerm", "postrm": "deb.postrm"},
	pkgfile.RPM: {"postinst": "rpm.post", "prerm": "rpm.preun", "postrm": "rpm.postun"},
}

// Script is a maintainer's script of a format, named as Debian names it: postinst, prerm
// or postrm. An rpm runs them as %post, %preun and %postun.
func Script(f pkgfile.Format, name string) []byte {
	text, err := scripts.ReadFile("scripts/" + scriptNames[f][name])
	if err != nil && scriptNames[f] != nil { // they are embedded
		panic(err)
	}
	return []byte(strings.NewReplacer("@ORIGIN@", unit.Origin, "@BARE@", unit.AgentPath, "@UNIT@", unit.PackagedPath).Replace(string(text)))
}
