package query

import (
	"context"
	"strings"
	"testing"
)

// anyTokens are a login that has a token.
type anyTokens struct{ Tokens }

func (anyTokens) Ready(context.Context) error { return nil }

func TestATokenIsShownOverEncryptedConnectionsAlone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		target  Target
		refused string // a part of the sentence; empty: it may be tried
	}{
		"a token over TLS":                         {Target{URL: "tls://a:4222", Tokens: anyTokens{}}, ""},
		"a token over WSS":                         {Target{URL: "wss://a", Tokens: anyTokens{}}, ""},
		"a token in plaintext":                     {Target{URL: "nats://a:4222", Tokens: anyTokens{}}, "not encrypted"},
		"a token to this machine in plaintext":     {Target{URL: "nats://127.0.0.1:4222", Tokens: anyTokens{}}, "not encrypted"},
		"a token to a server without a scheme":     {Target{URL: "a:4222", Tokens: anyTokens{}}, "not encrypted"},
		"a token in plaintext to one of several":   {Target{URL: "tls://a,nats://b", Tokens: anyTokens{}}, "nats://b is not encrypted"},
		"a token in plaintext, allowed":            {Target{URL: "nats://a:4222", Tokens: anyTokens{}, InsecurePlaintext: true}, ""},
		"a token with a CA, which demands TLS":     {Target{URL: "nats://a:4222", CAFile: "ca.pem", Tokens: anyTokens{}}, ""},
		"a CA does not encrypt WebSocket":          {Target{URL: "ws://a", CAFile: "ca.pem", Tokens: anyTokens{}}, "not encrypted"},
		"a bearer token of a nats context":         {Target{URL: "nats://a:4222", Bearer: true}, "not encrypted"},
		"a password in plaintext, as fleet-dev's":  {Target{URL: "nats://127.0.0.1:4222", User: "dev", Password: "p"}, ""},
		"a list that mixes WebSocket with others":  {Target{URL: "nats://a,wss://b", User: "dev"}, "mixes WebSocket"},
		"a user in the URL stays hidden in errors": {Target{URL: "nats://u:hunter2@a", Bearer: true}, "not encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.target.check()
			switch {
			case (err != nil) != (tt.refused != ""), err != nil && !strings.Contains(err.Error(), tt.refused):
				t.Errorf("error %v, want %q", err, tt.refused)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
