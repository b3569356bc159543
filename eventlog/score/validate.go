package score

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	label      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	imageName  = regexp.MustCompile(`^[^\s@]+(@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,})?$`)
	capability = regexp.MustCompile(`^[A-Za-z_]{1,63}$`)
	variable   = regexp.MustCompile(`^[^=\x00]+$`)
)

// LabelPrefixes are the beginnings of container labels that are the agent's own.
var LabelPrefixes = []string{"io.nationtech.fleet.", "fleet.nationtech.io/"}

// Validate says what no engine could run. Its errors are *Refusal. An image's
// reference is looked at lightly: the engine knows the exact rules and says
// InvalidImage.
func (p PodmanV0) Validate() error {
	names := map[string]bool{}
	type owner struct {
		service string
		port    Port
	}
	var taken []owner
	for i, s := range p.Services {
		title := fmt.Sprintf("service %q", s.Name)
		if !label.MatchString(s.Name) {
			return invalid("services[%d]: name %q: it is a label of lower-case letters, digits and '-', at most 63 of them", i, s.Name)
		}
		if names[s.Name] {
			return invalid("%s is there twice: the names of a score's services are unique", title)
		}
		names[s.Name] = true
		if err := s.validate(); err != nil {
			return invalid("%s: %v", title, err)
		}
		if s.Network == NetworkHost {
			continue
		}
		for _, port := range s.Ports {
			for _, other := range taken {
				if port.clashes(other.port) {
					return invalid("%s: host port %d is already taken by service %q: write another, or the container's port alone for a free one",
						title, port.Host, other.service)
				}
			}
			taken = append(taken, owner{s.Name, port})
		}
	}
	return nil
}

func (s Service) validate() error {
	if s.Image == "" {
		return fmt.Errorf("image is missing: write one, such as docker.io/library/nginx:1.27")
	}
	if !imageName.MatchString(s.Image) {
		return fmt.Errorf("image %q: it is [registry[:port]/]repository[:tag][@digest], such as docker.io/library/nginx:1.27", s.Image)
	}
	if s.Network == NetworkNone && len(s.Ports) > 0 {
		return fmt.Errorf("network none publishes no ports: leave ports out, or take network bridge")
	}
	if s.Network == NetworkNone && s.HealthCheck != nil && s.HealthCheck.HTTP != nil {
		return fmt.Errorf("network none can't be asked by http: write healthCheck.exec instead")
	}
	for key := range s.Env {
		if !variable.MatchString(key) {
			return fmt.Errorf("env %q: a variable's name isn't empty and has no '='", key)
		}
	}
	for _, c := range slices.Concat(s.CapAdd, s.CapDrop) {
		if !capability.MatchString(c) {
			return fmt.Errorf("capability %q: it is a name such as NET_ADMIN", c)
		}
	}
	for key := range s.Labels {
		for _, prefix := range LabelPrefixes {
			if strings.HasPrefix(key, prefix) {
				return fmt.Errorf("label %q: keys that begin with %s are the agent's own", key, prefix)
			}
		}
	}
	mounted := map[string]string{}
	for _, v := range s.Volumes {
		if other, twice := mounted[v.Path]; twice {
			return fmt.Errorf("%s is mounted twice, by %s and by a volume", v.Path, other)
		}
		mounted[v.Path] = "a volume"
	}
	for file := range s.Configs {
		if !path.IsAbs(file) || path.Clean(file) != file || file == "/" {
			return fmt.Errorf("config %q: it is the absolute path of a file in the container", file)
		}
		if other, twice := mounted[file]; twice {
			return fmt.Errorf("%s is mounted twice, by %s and by configs", file, other)
		}
		mounted[file] = "configs"
	}
	return nil
}
