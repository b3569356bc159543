package config

import (
	"errors"
	"fmt"
	"strings"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
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
func (n NATS) WebSocket() bool { return trust.Addresses(n.Servers()).WebSocket() }

func (n NATS) check() error {
	if n.URL == "" {
		return errors.New(`nats.url is missing: write url = "wss://…" or "tls://…" under [nats]`)
	}
	all, err := trust.ParseAddresses(n.URL)
	if err != nil {
		return fmt.Errorf("nats.url: %w", err)
	}
	if host, ok := all.User(); ok {
		return fmt.Errorf("nats.url holds a user: write user and password under [auth] instead (server %s)", host)
	}
	if one := all.Plaintext(); one != "" && !n.AllowPlaintext {
		return fmt.Errorf("nats.url %q is not encrypted: use wss:// or tls://, or say allow_plaintext = true "+
			"under [nats] where the network can be trusted", one)
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

func (a Auth) checkIssuer() error {
	if a.Issuer == "" {
		return errors.New(`auth.issuer is missing: write issuer = "https://…", the address of the provider`)
	}
	plaintext, err := openid.CheckIssuer(a.Issuer)
	if err != nil {
		return fmt.Errorf("auth.issuer %w", err)
	}
	if plaintext && !a.AllowPlaintext {
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
