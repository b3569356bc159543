package score

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// shortestIPv6 says whether a port's address in brackets, if it begins with one, is
// an IPv6 address as RFC 5952 writes it, so that one address is one text.
func shortestIPv6(port string) bool {
	if !strings.HasPrefix(port, "[") {
		return true
	}
	text, _, _ := strings.Cut(port, "]")
	text = strings.ReplaceAll(text, "[", "")
	addr, err := netip.ParseAddr(text)
	return err == nil && addr.Is6() && !addr.Is4In6() && addr.Zone() == "" && addr.String() == text
}

// hostPortTwice finds the first port that would listen where another one does.
func hostPortTwice(services []wire) (string, bool) {
	var all []string
	for _, s := range services {
		for _, p := range s.Ports {
			if place := listens(p); place != "" {
				all = append(all, place)
			}
		}
	}
	for _, s := range services {
		for _, p := range s.Ports {
			place, n := listens(p), 0
			for _, other := range all {
				if place != "" && strings.HasPrefix(other, place) {
					n++
				}
			}
			if n > 1 {
				return "service " + s.title() + `, port "` + p + `"`, true
			}
		}
	}
	return "", false
}

// listens is where a port listens on the host, as text, empty where a free port is
// taken. It is written such that the place of all addresses begins that of each:
// "8080: ", "8080: ." (all of IPv4), "8080: .127.0.0.1 "; "8080: [" (all of IPv6),
// "8080: [::1]".
func listens(text string) string {
	p, ok := parsePort(text)
	if !ok || p.Host == 0 {
		return ""
	}
	place := Port{Host: p.Host, Container: 1, Protocol: p.Protocol}.String() + " "
	switch addr, err := netip.ParseAddr(p.IP); {
	case err != nil:
	case addr.Is4() && addr.IsUnspecified():
		place += "."
	case addr.Is4():
		place += "." + p.IP + " "
	case addr.IsUnspecified():
		place += "["
	default: // as it is written: it is refused where that is not the shortest form
		address, _, _ := strings.Cut(text, "]")
		place += address + "]"
	}
	return place
}

// target is where a volume is mounted, without a slash at its end; empty where it
// says none.
func target(volume string) string {
	_, rest, _ := strings.Cut(volume, ":/")
	rest, _, _ = strings.Cut(rest, ":")
	if rest = strings.TrimRight(rest, "/"); rest == "" {
		return ""
	}
	return "/" + rest
}

// sharedTarget is the first volume that is mounted where another one is.
func sharedTarget(s wire) string {
	count := map[string]int{}
	for _, v := range s.Volumes {
		count[target(v)]++
	}
	for _, v := range s.Volumes {
		if t := target(v); t != "" && count[t] > 1 {
			return v
		}
	}
	return ""
}

// coveredFile is the first file of configs that is where a volume is mounted, or
// above a volume or another file.
func coveredFile(s wire) string {
	files := slices.Sorted(maps.Keys(s.Configs))
	for _, file := range files {
		below := func(other string) bool { return strings.HasPrefix(other, file+"/") }
		if slices.ContainsFunc(files, below) ||
			slices.ContainsFunc(s.Volumes, func(v string) bool { return target(v) == file || below(target(v)) }) {
			return file
		}
	}
	return ""
}
