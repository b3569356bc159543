package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Servers gives the URLs of the NATS servers, one by one.
func (n NATS) Servers() []string {
	var all []string
	for one := range strings.SplitSeq(n.URL, ",") {
		all = append(all, strings.TrimSpace(one))
	}
	return all
}

// WebSocket says whether the servers are reached over WebSocket.
func (n NATS) WebSocket() bool {
	scheme, _, _ := strings.Cut(n.Servers()[0], "://")
	return scheme == "ws" || scheme == "wss"
}

func (n NATS) check() error {
	if n.URL == "" {
		return errors.New(`nats.url is missing: write url = "wss://…" or "tls://…" under [nats]`)
	}
	webSocket, direct := "", ""
	for _, one := range n.Servers() {
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "":
			return fmt.Errorf("nats.url %q is not a URL such as \"wss://nats.example.org:443\"", one)
		case u.User != nil:
			return fmt.Errorf("nats.url holds a user: write user and password under [auth] instead (server %s)", u.Host)
		}
		switch u.Scheme {
		case "wss", "ws":
			webSocket = one
		case "tls", "nats":
			direct = one
		default:
			return fmt.Errorf("nats.url %q: its scheme must be wss, tls, or (with allow_plaintext = true) nats or ws", one)
		}
		if (u.Scheme == "nats" || u.Scheme == "ws") && !n.AllowPlaintext {
			return fmt.Errorf("nats.url %q is not encrypted: use wss:// or tls://, or say allow_plaintext = true "+
				"under [nats] where the network can be trusted", one)
		}
	}
	if webSocket != "" && direct != "" {
		return fmt.Errorf("nats.url mixes WebSocket (%s) with other servers (%s), and the NATS client refuses such a list: "+
			"name servers of one kind only", webSocket, direct)
	}
	return nil
}

func (a Auth) check() error {
	switch a.Mode {
	case ModeShared:
		if a.User == "" && a.Password != "" {
			return errors.New("auth.password without auth.user: write both under [auth]")
		}
		return nil
	case ModeZitadelJWT:
		return errors.Join(a.checkKey(), a.checkIssuer(), a.checkScopes())
	}
	return fmt.Errorf("auth.mode %q must be %q or %q", a.Mode, ModeShared, ModeZitadelJWT)
}

func (a Auth) checkKey() error {
	switch {
	case a.User != "" || a.Password != "":
		return fmt.Errorf("auth.user and auth.password belong to mode = %q: remove them, as the device shows a token", ModeShared)
	case a.KeyFile == "":
		return fmt.Errorf("auth.key_file is missing: write key_file = %q, the key of this device", DefaultKeyFile)
	case a.ProjectID == "":
		return errors.New(`auth.project_id is missing: write project_id = "…", the id of the fleet's project at the provider`)
	case strings.ContainsAny(a.ProjectID, " :"):
		return fmt.Errorf("auth.project_id %q must be an id without space and colon", a.ProjectID)
	}
	return nil
}

// checkIssuer is strict, since the provider compares it byte by byte with the
// audience of what the device signs.
func (a Auth) checkIssuer() error {
	if a.Issuer == "" {
		return errors.New(`auth.issuer is missing: write issuer = "https://…", the address of the provider`)
	}
	u, err := url.Parse(a.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("auth.issuer %q is not a URL such as \"https://auth.example.org\"", a.Issuer)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("auth.issuer %q must be scheme, host and port alone, without a trailing slash", a.Issuer)
	case u.Scheme == "http" && !a.AllowPlaintext:
		return fmt.Errorf("auth.issuer %q is not encrypted: use https://, or say allow_plaintext = true under [auth] "+
			"where the network can be trusted", a.Issuer)
	}
	return nil
}

func (a Auth) checkScopes() error {
	for _, s := range a.Scopes {
		if s == "" || strings.ContainsAny(s, " \t\n\"\\") {
			return fmt.Errorf("auth.scopes holds %q: write each scope as a text of its own, without space", s)
		}
	}
	return nil
}
