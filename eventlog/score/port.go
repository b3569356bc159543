package score

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Port is one published port.
type Port struct {
	IP        string // the host's address to listen on; empty is all
	Host      uint16 // 0: a free one is taken when the container is created, and kept
	Container uint16
	Protocol  string // tcp or udp
}

// ParsePort reads "CONTAINER", "HOST:CONTAINER" or "IP:HOST:CONTAINER", with
// "/tcp" or "/udp" after it; an IPv6 address stands in brackets.
func ParsePort(text string) (Port, error) {
	p, ok := parsePort(text)
	if !ok {
		return Port{}, fmt.Errorf("port %q: it is \"CONTAINER\", \"HOST:CONTAINER\" or \"IP:HOST:CONTAINER\", "+
			"ports 1 to 65535, and optionally /tcp or /udp", text)
	}
	return p, nil
}

func parsePort(text string) (Port, bool) {
	p := Port{Protocol: "tcp"}
	rest, protocol, found := strings.Cut(text, "/")
	if found {
		if protocol != "tcp" && protocol != "udp" {
			return p, false
		}
		p.Protocol = protocol
	}
	rest, container, ok := cutLast(rest)
	if p.Container, found = parsePortNumber(container); !found {
		return p, false
	}
	if !ok {
		return p, true
	}
	ip, host, ok := cutLast(rest)
	if p.Host, found = parsePortNumber(host); !found {
		return p, false
	}
	if !ok {
		return p, true
	}
	inner, bracketed := strings.CutPrefix(ip, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return p, false
		}
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Zone() != "" || addr.Is4() == bracketed {
		return p, false
	}
	p.IP = addr.String()
	return p, true
}

// cutLast cuts at the last colon; without one all of it is the last part.
func cutLast(s string) (before, last string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

func parsePortNumber(s string) (uint16, bool) {
	if s == "" || s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// String is the port as a score writes it.
func (p Port) String() string {
	s := strconv.Itoa(int(p.Container))
	if p.Host != 0 {
		s = strconv.Itoa(int(p.Host)) + ":" + s
	}
	if p.IP != "" {
		ip := p.IP
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		s = ip + ":" + s
	}
	if p.Protocol == "udp" {
		s += "/udp"
	}
	return s
}
