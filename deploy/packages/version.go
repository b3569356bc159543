package packages

import (
	"regexp"
	"strings"
	"time"
)

// described is what git describe makes of a commit: a tag, and where the commit is not
// the tag's own, how many commits it is after it and its hash.
var described = regexp.MustCompile(`^v?(\d+(?:\.\d+)+)((?:-[A-Za-z][0-9A-Za-z.]*)?)(?:-(\d+)-g([0-9a-f]+))?$`)

var unfit = regexp.MustCompile(`[^0-9A-Za-z.+~]+`)

// Version is an agent's version as both package managers sort it: v1.2.0 is 1.2.0,
// v1.2.0-rc.1 is 1.2.0~rc.1 and older than that, v1.2.0-3-gabc is 1.2.0+3.gabc and newer.
// What no tag describes is older than every release, and sorted by its date.
func Version(version string, date time.Time) string {
	clean, dirty := strings.CutSuffix(version, "-dirty")
	m := described.FindStringSubmatch(clean)
	if m == nil {
		return "0~git" + date.UTC().Format("20060102150405") + "." + strings.Trim(unfit.ReplaceAllString(version, "."), ".")
	}
	text := m[1]
	if m[2] != "" {
		text += "~" + strings.TrimPrefix(m[2], "-")
	}
	if m[3] != "" {
		text += "+" + m[3] + ".g" + m[4]
	}
	if dirty {
		text += "+dirty"
	}
	return text
}
