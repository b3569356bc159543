// Package baretest is the callout beside which benchmarks run ours: it looks at nothing.
package baretest

import (
	"runtime"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/eventlog"
)

// Callout opens and decodes a request by the libraries, and signs and seals one and
// the same answer.
type Callout struct {
	Issuer, XKey nkeys.KeyPair
	Grant        callout.Grant
}

// Answer gives the answer to a request that a server with the key peer sealed.
func (c *Callout) Answer(data []byte, peer string) ([]byte, error) {
	plain, err := c.XKey.Open(data, peer)
	if err != nil {
		return nil, err
	}
	q, err := jwt.DecodeAuthorizationRequestClaims(string(plain))
	if err != nil {
		return nil, err
	}
	u := jwt.NewUserClaims(q.UserNkey)
	u.Name, u.Audience = c.Grant.Actor, c.Grant.Account
	u.Pub.Allow, u.Sub.Allow = c.Grant.Permissions.Publish, c.Grant.Permissions.Subscribe
	u.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: time.Hour}
	u.AllowedConnectionTypes = c.Grant.ConnectionTypes
	u.Expires = c.Grant.Expires.Unix()
	user, err := u.Encode(c.Issuer)
	if err != nil {
		return nil, err
	}
	a := jwt.NewAuthorizationResponseClaims(q.UserNkey)
	a.Audience, a.Jwt = q.Server.ID, user
	text, err := a.Encode(c.Issuer)
	if err != nil {
		return nil, err
	}
	return c.XKey.Seal([]byte(text), peer)
}

// Serve answers the requests of servers until the connection ends, as many at once as
// there are processors. failed receives what went wrong.
func (c *Callout) Serve(nc *nats.Conn, failed func(error)) error {
	for range runtime.GOMAXPROCS(0) {
		_, err := nc.QueueSubscribe(eventlog.AuthRequestSubject, "bare", func(m *nats.Msg) {
			answer, err := c.Answer(m.Data, m.Header.Get(eventlog.HeaderServerXKey))
			if err == nil {
				err = m.Respond(answer)
			}
			if err != nil {
				failed(err)
			}
		})
		if err != nil {
			return err
		}
	}
	return nc.Flush()
}
