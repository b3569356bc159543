package score

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Volume is one mount: a volume that Podman keeps on the device under a name, or
// a path of the host.
type Volume struct {
	Name    string // of a kept volume; empty where Host is set
	Host    string // absolute path on the device
	Path    string // absolute path in the container
	Options []string
}

var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)

// volumeOptions is what a mount may ask for. Others of Podman's options change
// who owns files on the host, and are refused rather than guessed at.
var volumeOptions = []string{
	"ro", "rw", "z", "Z", "noexec", "exec", "nosuid", "suid", "nodev", "dev",
	"rshared", "shared", "rslave", "slave", "rprivate", "private", "rbind", "bind", "nocopy", "copy",
}

// ParseVolume reads "NAME:/path" or "/host/path:/path", with options after it.
func ParseVolume(text string) (Volume, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return Volume{}, fmt.Errorf("volume %q: it is \"NAME:/path\" or \"/host/path:/path\", and optionally options, as in \"data:/data:ro\"", text)
	}
	v := Volume{Path: parts[1]}
	switch {
	case strings.HasPrefix(parts[0], "/"):
		v.Host = path.Clean(parts[0])
	case volumeName.MatchString(parts[0]):
		v.Name = parts[0]
	default:
		return Volume{}, fmt.Errorf("volume %q: %q is neither a name (letters, digits, '-', '_' and '.') nor an absolute path", text, parts[0])
	}
	if !strings.HasPrefix(v.Path, "/") || path.Clean(v.Path) == "/" {
		return Volume{}, fmt.Errorf("volume %q: %q must be an absolute path in the container, other than /", text, v.Path)
	}
	v.Path = path.Clean(v.Path)
	if len(parts) == 3 {
		for option := range strings.SplitSeq(parts[2], ",") {
			if !slices.Contains(volumeOptions, option) {
				return Volume{}, fmt.Errorf("volume %q: option %q is none of %s", text, option, strings.Join(volumeOptions, ", "))
			}
			v.Options = append(v.Options, option)
		}
	}
	return v, nil
}
