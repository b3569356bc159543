package responder

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/refusal"
)

const (
	requestAudience = "nats-authorization-request"
	// maxRequestBytes bounds a sealed request: a CONNECT of 4 KiB, and what a server
	// adds.
	maxRequestBytes = 64 << 10
	// clockLeeway is how far the clocks of server and callout may differ.
	clockLeeway = 30 * time.Second
	// maxReasonBytes bounds what is written into the server's log.
	maxReasonBytes = 512
)

// Login is what a server asks about.
type Login struct {
	Token      string // CONNECT's auth_token
	User       string // CONNECT's user, where it carries no token
	Host       string
	Websocket  bool
	ServerID   string
	Connection uint64 // on that server
	// Probe marks the responder's own question whether it still answers.
	Probe bool
}

// Keys are the callout's secrets. More than one of a kind serve servers of an old
// and a new configuration while they are changed one by one.
type Keys struct {
	Issuers [][]byte // seeds of account keys (SA…)
	XKeys   [][]byte // seeds of curve keys (SX…); none: requests are not sealed
}

// codec opens and decodes requests, and signs and seals answers.
type codec struct {
	issuers    map[string]nkeys.KeyPair // by public key
	xkeys      []*curveKey
	allowPlain bool
	now        func() time.Time
}

func newCodec(k Keys, allowPlain bool, now func() time.Time) (*codec, error) {
	if len(k.Issuers) == 0 {
		return nil, errors.New("no issuer: the callout needs the seed whose public key is auth_callout.issuer")
	}
	if len(k.XKeys) == 0 && !allowPlain {
		return nil, errors.New("no xkey: the callout needs the seed whose public key is auth_callout.xkey, or leave to answer plain requests")
	}
	c := &codec{issuers: map[string]nkeys.KeyPair{}, allowPlain: allowPlain, now: now}
	for _, seed := range k.Issuers {
		pair, err := nkeys.FromSeed(seed)
		if err != nil {
			return nil, fmt.Errorf("issuer: %w", err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("issuer: %w", err)
		}
		if !nkeys.IsValidPublicAccountKey(public) {
			return nil, errors.New("issuer: the seed must be that of an account key (SA…)")
		}
		c.issuers[public] = pair
	}
	for _, seed := range k.XKeys {
		key, err := newCurveKey(seed)
		if err != nil {
			return nil, err
		}
		c.xkeys = append(c.xkeys, key)
	}
	return c, nil
}

// request is a decoded request and what its answer needs.
type request struct {
	login    Login
	userNkey string
	server   string // public key
	issuer   nkeys.KeyPair
	xkey     *curveKey // nil where the request was plain
	peer     string    // the server's xkey
}

// errNotOurs says that a request cannot be answered: it is none, or its server
// expects an issuer whose seed this callout does not have.
var errNotOurs = errors.New("the request cannot be answered")

// decode opens and decodes a request. Beside a *refusal.Error it gives a request by
// which the refusal can be answered; with errNotOurs there is none.
func (c *codec) decode(data []byte, peer string) (request, error) {
	r := request{peer: peer}
	if len(data) > maxRequestBytes {
		return r, fmt.Errorf("%w: it has %d bytes", errNotOurs, len(data))
	}
	plain := data
	if peer != "" {
		var err error
		if plain, err = c.open(&r, data); err != nil {
			return r, fmt.Errorf("%w: %w", errNotOurs, err)
		}
	}
	claims, err := jwt.DecodeAuthorizationRequestClaims(string(plain))
	if err != nil {
		return r, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	issuer, ok := c.issuers[claims.Subject]
	if !ok {
		return r, fmt.Errorf("%w: server %s expects the issuer %.60q, whose seed this callout does not have", errNotOurs, claims.Server.Name, claims.Subject)
	}
	if !nkeys.IsValidPublicUserKey(claims.UserNkey) || claims.Server.ID == "" {
		return r, fmt.Errorf("%w: it names no user key or no server", errNotOurs)
	}
	r.issuer, r.userNkey, r.server = issuer, claims.UserNkey, claims.Server.ID
	o := claims.ConnectOptions
	r.login = Login{
		Token: o.Token, User: o.Username, Host: claims.ClientInformation.Host, ServerID: claims.Server.ID,
		Websocket: claims.ClientInformation.Type == "websocket", Connection: claims.ClientInformation.ID,
	}
	switch late := c.now().Sub(time.Unix(claims.Expires, 0)); {
	case r.xkey == nil && !c.allowPlain:
		return r, refusal.New(refusal.PlainRequest, "the server does not seal its requests: set auth_callout.xkey in its configuration")
	case claims.Audience != requestAudience || claims.Issuer != claims.Server.ID:
		return r, refusal.New(refusal.MalformedRequest, "the request is not one of a server to an auth callout")
	case late > clockLeeway:
		return r, refusal.New(refusal.MalformedRequest, "the request expired %s ago: compare the clocks of server and callout", late.Round(time.Second))
	}
	return r, nil
}

// open tries each of our curve keys.
func (c *codec) open(r *request, data []byte) (plain []byte, err error) {
	err = errors.New("the server seals its requests, and the callout has no xkey")
	for _, k := range c.xkeys {
		if plain, err = k.open(data, r.peer); err == nil {
			r.xkey = k
			return plain, nil
		}
	}
	return nil, err
}

// grant signs and seals the answer that lets a client in.
func (c *codec) grant(r request, g callout.Grant) ([]byte, error) {
	u := jwt.NewUserClaims(r.userNkey)
	u.Name = g.Actor
	u.Audience = g.Account
	u.Pub.Allow = g.Permissions.Publish
	u.Sub.Allow = g.Permissions.Subscribe
	if a := g.Permissions.Responses; a != nil {
		u.Resp = &jwt.ResponsePermission{MaxMsgs: a.Max, Expires: a.TTL}
	}
	u.AllowedConnectionTypes = g.ConnectionTypes
	u.Expires = g.Expires.Unix()
	user, err := u.Encode(r.issuer)
	if err != nil {
		return nil, fmt.Errorf("sign the user: %w", err)
	}
	return c.answer(r, func(a *jwt.AuthorizationResponseClaims) { a.Jwt = user })
}

// deny signs and seals the answer that refuses a client. The reason goes into the
// server's log; the client is never told.
func (c *codec) deny(r request, e *refusal.Error) ([]byte, error) {
	reason := e.Error()
	if len(reason) > maxReasonBytes {
		reason = reason[:maxReasonBytes]
	}
	return c.answer(r, func(a *jwt.AuthorizationResponseClaims) { a.Error = reason })
}

func (c *codec) answer(r request, fill func(*jwt.AuthorizationResponseClaims)) ([]byte, error) {
	a := jwt.NewAuthorizationResponseClaims(r.userNkey)
	a.Audience = r.server
	fill(a)
	text, err := a.Encode(r.issuer)
	if err != nil {
		return nil, fmt.Errorf("sign the answer: %w", err)
	}
	if r.xkey == nil {
		return []byte(text), nil
	}
	sealed, err := r.xkey.seal([]byte(text), r.peer)
	if err != nil {
		return nil, fmt.Errorf("seal the answer: %w", err)
	}
	return sealed, nil
}
