package install

import (
	"fmt"
	"regexp"
	"strconv"
)

// release is the form of a version that can be compared: v1.2.3, with anything after it.
var release = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$`)

// VersionError says that the installed version does not let another one over it.
type VersionError struct{ Sentence, Remedy string }

func (e *VersionError) Error() string { return e.Sentence }

// Upgradable says whether a fleet of one version can become one of another: one minor
// version at a time, and never back. A build of a commit after a release, as
// v0.1.0-3-gabc1234, counts as that release. What no release comes before is taken as it
// comes. The error is a *VersionError.
func Upgradable(from, to string) error {
	a, b := release.FindStringSubmatch(from), release.FindStringSubmatch(to)
	if a == nil || b == nil {
		return nil
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0 // more digits than a version has
		}
		return n
	}
	aMajor, aMinor, bMajor, bMinor := number(a[1]), number(a[2]), number(b[1]), number(b[2])
	switch {
	case bMajor < aMajor || bMajor == aMajor && bMinor < aMinor:
		return &VersionError{
			fmt.Sprintf("version %s is installed, and %s is older: what a newer version wrote an older one may not read", from, to),
			"a fleetctl of version " + from + " or newer",
		}
	case bMajor == aMajor && bMinor > aMinor+1:
		return &VersionError{
			fmt.Sprintf("version %s is installed, and %s is more than one minor version newer", from, to),
			fmt.Sprintf("a fleetctl of version v%d.%d first", aMajor, aMinor+1),
		}
	case bMajor > aMajor+1 || bMajor > aMajor && bMinor > 0:
		return &VersionError{
			fmt.Sprintf("version %s is installed, and %s is more than one version newer", from, to),
			fmt.Sprintf("a fleetctl of version v%d.0 first", aMajor+1),
		}
	}
	return nil
}
