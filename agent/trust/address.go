package trust

import (
	"fmt"
	"net/url"
	"strings"
)

// Addresses are the URLs of NATS servers, of which a client takes any.
type Addresses []string

// ParseAddresses reads a list with commas between the URLs. It refuses what no
// client could use: another scheme, or WebSocket mixed with other servers, which
// nats.go refuses at each attempt to connect.
func ParseAddresses(list string) (Addresses, error) {
	var all Addresses
	webSocket, direct := "", ""
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		u, err := url.Parse(one)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("%q is not a URL such as \"wss://nats.example.org:443\"", withoutUser(one))
		}
		switch u.Scheme {
		case "wss", "ws":
			webSocket = u.Redacted()
		case "tls", "nats":
			direct = u.Redacted()
		default:
			return nil, fmt.Errorf("%q: its scheme must be wss, tls, or (where plaintext is allowed) nats or ws", u.Redacted())
		}
		all = append(all, one)
	}
	if webSocket != "" && direct != "" {
		return nil, fmt.Errorf("the list mixes WebSocket (%s) with other servers (%s), and the NATS client refuses such a list: "+
			"name servers of one kind only", webSocket, direct)
	}
	return all, nil
}

// withoutUser keeps a password out of an error about a text that is no URL.
func withoutUser(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "…" + text[at:]
	}
	return text
}

// WebSocket says whether the servers are reached over WebSocket.
func (a Addresses) WebSocket() bool {
	return len(a) > 0 && strings.HasPrefix(a[0], "ws")
}

// Plaintext gives the first server whose scheme does not ask for encryption; empty
// where there is none.
func (a Addresses) Plaintext() string {
	for _, one := range a {
		if strings.HasPrefix(one, "nats:") || strings.HasPrefix(one, "ws:") {
			u, err := url.Parse(one)
			if err != nil {
				return one
			}
			return u.Redacted()
		}
	}
	return ""
}

// User says whether one of the URLs holds a user, and at which host.
func (a Addresses) User() (host string, ok bool) {
	for _, one := range a {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			return u.Host, true
		}
	}
	return "", false
}
