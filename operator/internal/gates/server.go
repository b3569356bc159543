package gates

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Server is a Prometheus server that gates may ask. A gate knows it by its name alone.
type Server struct {
	Name string
	URL  string
	// TokenFile holds the bearer token that the server wants; empty: it wants none. It is
	// read for each question, so that the token can change.
	TokenFile string
}

// ParseServers reads what a person said: servers as name=URL, and the files of their
// tokens as name=FILE.
func ParseServers(servers, tokenFiles []string) ([]Server, error) {
	var parsed []Server
	for _, text := range servers {
		name, address, ok := strings.Cut(text, "=")
		if !ok {
			return nil, errors.New("--prometheus: write name=URL, such as main=http://prometheus:9090")
		}
		parsed = append(parsed, Server{Name: name, URL: address})
	}
	for _, text := range tokenFiles {
		name, file, ok := strings.Cut(text, "=")
		if !ok || file == "" {
			return nil, errors.New("--prometheus-token-file: write name=FILE, such as main=/etc/fleet/prometheus.token")
		}
		if err := giveToken(parsed, name, file); err != nil {
			return nil, err
		}
	}
	return parsed, CheckServers(parsed)
}

func giveToken(servers []Server, name, file string) error {
	for i := range servers {
		switch {
		case servers[i].Name != name:
		case servers[i].TokenFile != "":
			return fmt.Errorf("--prometheus-token-file %s is given twice", name)
		default:
			servers[i].TokenFile = file
			return nil
		}
	}
	return fmt.Errorf("--prometheus-token-file %s: no server has that name; give --prometheus %s=URL, too", name, name)
}

// CheckServers says what is wrong with servers. It repeats no URL, which may have a
// password in it.
func CheckServers(servers []Server) error {
	seen := map[string]bool{}
	for _, s := range servers {
		switch err := s.check(); {
		case err != nil:
			return err
		case seen[s.Name]:
			return fmt.Errorf("--prometheus %s is given twice: give each server a name of its own", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func (s Server) check() error {
	if len(validation.IsDNS1123Label(s.Name)) > 0 {
		return fmt.Errorf("--prometheus: %q is no name of a server: use at most 63 lower-case letters, digits and hyphens, and begin and end with a letter or digit", s.Name)
	}
	refuse := func(what string) error { return fmt.Errorf("--prometheus %s: %s", s.Name, what) }
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return refuse("write a URL that begins with http:// or https:// and names a host, such as http://prometheus:9090")
	case u.User != nil:
		return refuse("the URL must have no user or password in it: put a token into a file, and give --prometheus-token-file " + s.Name + "=FILE")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return refuse("the URL must have neither ? nor #: write it as far as the part before /api/v1")
	}
	return nil
}
