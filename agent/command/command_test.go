package command

import (
	"testing"

	"github.com/nats-io/nats.go"
)

func TestBelieve(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reply  string
		info   string
		reason string
	}{
		"a request of the fleet's":                    {"_INBOX.x", `{"acc":"FLEET","user":"operator","kind":"Client"}`, ""},
		"a request of a person's":                     {"_INBOX.x", `{"acc":"PEOPLE","user":"person-1","kind":"Client"}`, ""},
		"what a consumer delivers":                    {"_INBOX.x", `{"acc":"FLEET","kind":"JetStream"}`, ReasonNoClient},
		"a client that nobody knows":                  {"_INBOX.x", `{"acc":"FLEET","kind":"Client"}`, ReasonNoClient},
		"a leaf node":                                 {"_INBOX.x", `{"acc":"FLEET","user":"x","kind":"Leafnode"}`, ReasonNoClient},
		"an answer to another question: no reply":     {"", `{"acc":"FLEET","user":"alice","kind":"Client"}`, ReasonNoReply},
		"a request that does not say who asks":        {"_INBOX.x", "", ReasonNoRequestInfo},
		"a request whose asker is not JSON":           {"_INBOX.x", "alice", ReasonNoRequestInfo},
		"a request of another device":                 {"_INBOX.x", `{"acc":"DEVICES","user":"pi-02","kind":"Client"}`, ReasonOtherAccount},
		"a request of an account with a similar name": {"_INBOX.x", `{"acc":"fleet"}`, ReasonOtherAccount},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := nats.NewMsg("device-commands.pi-01.ping")
			m.Reply = tc.reply
			if tc.info != "" {
				m.Header.Set("Nats-Request-Info", tc.info)
			}
			_, reason, why := verify(m)
			if reason != tc.reason || (reason == "") != (why == "") {
				t.Errorf("reason %q (%s), want %q", reason, why, tc.reason)
			}
		})
	}
}
