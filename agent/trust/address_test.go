package trust_test

import (
	"strings"
	"testing"

	"fleet.nationtech.io/agent/trust"
)

func TestAddressesAreReadOrRefusedWithASentence(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		list      string
		refused   string // a part of the sentence; empty: it is read
		plaintext string
		webSocket bool
	}{
		"one over TLS":                        {"tls://a:4222", "", "", false},
		"two over WebSocket, with a space":    {"wss://a, wss://b:443", "", "", true},
		"one in plaintext among others":       {"tls://a:1,nats://b:2", "", "nats://b:2", false},
		"WebSocket in plaintext":              {"ws://a:80", "", "ws://a:80", true},
		"WebSocket mixed with others":         {"tls://b:4222,wss://a:443", "mixes WebSocket (wss://a:443) with other servers (tls://b:4222)", "", false},
		"another scheme":                      {"http://a", "scheme must be wss, tls", "", false},
		"no URL":                              {"a", "is not a URL", "", false},
		"nothing between two commas":          {"tls://a:1,,tls://b:1", "is not a URL", "", false},
		"a password stays hidden in errors":   {"http://u:hunter2@a", "scheme must be", "", false},
		"a password stays hidden in no URL":   {"u:hunter2@a b", "is not a URL", "", false},
		"a password stays hidden in a mix":    {"wss://a,tls://u:hunter2@b", "mixes WebSocket", "", false},
		"a password stays hidden when plain":  {"nats://u:hunter2@a", "", "nats://u:xxxxx@a", false},
		"a password stays hidden as a part %": {"%zz:hunter2@a", "is not a URL", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := trust.ParseAddresses(tt.list)
			switch {
			case err != nil && (tt.refused == "" || !strings.Contains(err.Error(), tt.refused)):
				t.Errorf("error %v", err)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			case err != nil:
			case tt.refused != "":
				t.Error("it is read")
			case a.Plaintext() != tt.plaintext || a.WebSocket() != tt.webSocket:
				t.Errorf("plaintext %q, WebSocket %v", a.Plaintext(), a.WebSocket())
			}
		})
	}
}
