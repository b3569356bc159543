// Package loginstest runs a NATS server whose auth callout lets in whom a test says.
package loginstest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// Server is a NATS server with account FLEET, in which persons are too.
type Server struct {
	*natstest.Server
	JS jetstream.JetStream // of the operator

	mu     sync.Mutex
	logins map[string]int
	grants map[string]func(login int) bool
}

// Start runs a server, until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	server := natstest.Start(t, natstest.Config(t, fmt.Sprintf(`
accounts {
  FLEET { jetstream: enabled, users: [ { user: operator, password: secret } ] }
  SYS { users: [ { user: sys, password: secret } ] }
}
system_account: SYS
authorization { timeout: 20, auth_callout { issuer: %s, account: FLEET, auth_users: [ operator, sys ] } }`, issuer)))
	nc, js := server.Connect(t, nats.UserInfo("operator", "secret"))
	s := &Server{Server: server, JS: js, logins: map[string]int{}, grants: map[string]func(int) bool{}}
	_, err = nc.Subscribe("$SYS.REQ.USER.AUTH", func(m *nats.Msg) {
		answer, err := s.decide(key, string(m.Data))
		if err == nil {
			err = m.Respond([]byte(answer))
		}
		if err != nil {
			t.Errorf("the auth callout of the test: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Grant lets the bearer of a token in as an actor. when says which of its logins, counted from 1;
// nil: all.
func (s *Server) Grant(token, actor string, when func(login int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[token+" "+actor] = when
}

// Logins is how many logins the token has asked for.
func (s *Server) Logins(token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins[token]
}

// actor says as whom a token is let in now; empty: it is refused.
func (s *Server) actor(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins[token]++
	for k, when := range s.grants {
		if len(k) > len(token) && k[:len(token)+1] == token+" " && (when == nil || when(s.logins[token])) {
			return k[len(token)+1:]
		}
	}
	return ""
}

func (s *Server) decide(key nkeys.KeyPair, request string) (string, error) {
	asked, err := jwt.DecodeAuthorizationRequestClaims(request)
	if err != nil {
		return "", err
	}
	answer := jwt.NewAuthorizationResponseClaims(asked.UserNkey)
	answer.Audience = asked.Server.ID
	actor := s.actor(asked.ConnectOptions.Token)
	if actor == "" {
		answer.Error = "refused by the test"
		return answer.Encode(key)
	}
	user := jwt.NewUserClaims(asked.UserNkey)
	user.Name, user.Audience = actor, eventlog.AccountFleet
	user.Pub.Allow.Add(eventlog.UserInfoAPI)
	user.Sub.Allow.Add(eventlog.InboxPrefix(actor) + ".>")
	if answer.Jwt, err = user.Encode(key); err != nil {
		return "", err
	}
	return answer.Encode(key)
}
