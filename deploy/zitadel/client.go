// Package zitadel asks Zitadel's management API: machine users and their keys, and
// what the fleet needs around them. It asks in v2, and in v1 where a server lacks a
// method of v2.
package zitadel

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/deviceflow"
)

const (
	requestTimeout = 15 * time.Second
	maxAnswerBytes = 1 << 20

	// DefaultSettle is how long a server may take to show what was written.
	DefaultSettle = 15 * time.Second
)

// Tokens gives the bearer token of the API. A Session is one.
type Tokens interface {
	// Token gives a token that holds.
	Token(ctx context.Context) (string, error)
	// Refused says that the provider refused a token, so that Token gives another
	// one where it can. It reports whether it can.
	Refused(token string) bool
}

// Options configure a Client.
type Options struct {
	Issuer string // byte for byte
	// Organization is the id of the one whose users are managed: the devices'.
	Organization string
	Tokens       Tokens
	CAFile       string // PEM, trusted beside the system's CAs; may be empty
	// Settle is how long a server may take to show what was written; 0:
	// DefaultSettle.
	Settle time.Duration
	Now    func() time.Time // nil: the machine's clock
	// Sleep waits, or until the context ends; nil: by the machine's clock.
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64 // in [0,1); nil: random
}

// Client is the management API as one account. It may be used from several
// goroutines.
type Client struct {
	Options
	http *http.Client
	v1   *sync.Map // the methods that the server lacks in v2
}

// New wires a Client. It reads the CA file, and asks nobody.
func New(o Options) (*Client, error) {
	if _, err := openid.CheckIssuer(o.Issuer); err != nil {
		return nil, err
	}
	if o.Tokens == nil {
		return nil, errors.New("the management API needs a token: sign in first")
	}
	servers, err := trust.Beside(&trust.Clock{}, o.CAFile)
	if err != nil {
		return nil, err
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = deviceflow.Sleep
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return &Client{Options: o, http: newHTTP(servers.TLS()), v1: &sync.Map{}}, nil
}

func newHTTP(config *tls.Config) *http.Client {
	const idleConnections = 8 // an inventory is enrolled in parallel
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: requestTimeout,
		},
		// The token goes nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// In is the same client for another organization.
func (c *Client) In(organization string) *Client {
	other := *c
	other.Organization = organization
	return &other
}

// settled asks until an answer is there, or until the server must show what was
// written. found says whether it is there.
func (c *Client) settled(ctx context.Context, look func() (found bool, err error)) (found bool, err error) {
	const first, longest = 200 * time.Millisecond, 2 * time.Second
	end := c.Now().Add(c.Settle)
	for wait := first; ; wait = min(2*wait, longest) {
		found, err = look()
		if found || err != nil || !c.Now().Before(end) {
			return found, err
		}
		if err := c.Sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}
