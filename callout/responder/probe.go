package responder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

var errNotReady = errors.New("the replica is not ready")

// prober makes a server's request that carries no token. The server's own subject
// is closed to clients, so the replica asks itself in process: by the same queue
// and workers, with all that is opened, decoded, signed and sealed.
type prober struct {
	server nkeys.KeyPair
	id     string
	issuer string // of ours, public
	user   string
	xkey   nkeys.KeyPair // of the server that is played
	peer   string        // its public key; empty where requests are plain
	sealed string        // our public curve key
}

func newProber(c *codec) (*prober, error) {
	p := &prober{}
	var err error
	if p.server, err = nkeys.CreateServer(); err != nil {
		return nil, err
	}
	if p.id, err = p.server.PublicKey(); err != nil {
		return nil, err
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	if p.user, err = user.PublicKey(); err != nil {
		return nil, err
	}
	for public := range c.issuers {
		p.issuer = public
	}
	if len(c.xkeys) == 0 {
		return p, nil
	}
	p.sealed = c.xkeys[0].public
	if p.xkey, err = nkeys.CreateCurveKeys(); err != nil {
		return nil, err
	}
	p.peer, err = p.xkey.PublicKey()
	return p, err
}

func (p *prober) request(expires time.Time) ([]byte, error) {
	c := jwt.NewAuthorizationRequestClaims(p.issuer)
	c.Audience, c.UserNkey, c.Server.ID = requestAudience, p.user, p.id
	c.Expires = expires.Unix()
	text, err := c.Encode(p.server)
	if err != nil || p.xkey == nil {
		return []byte(text), err
	}
	return p.xkey.Seal([]byte(text), p.sealed)
}

// understood fails unless an answer is one that a server would understand.
func (p *prober) understood(answer []byte) error {
	if p.xkey != nil {
		var err error
		if answer, err = p.xkey.Open(answer, p.sealed); err != nil {
			return err
		}
	}
	a, err := jwt.DecodeAuthorizationResponseClaims(string(answer))
	if err != nil {
		return err
	}
	if a.Subject != p.user || a.Issuer != p.issuer {
		return errors.New("the answer is not the one that was due")
	}
	return nil
}

// check fails unless the replica answers itself, and its server answers it, within
// CheckTimeout.
func (r *Responder) check(ctx context.Context) (err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			r.options.Metrics.failed.Inc()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, r.options.CheckTimeout)
	defer cancel()
	asked, err := r.probe.request(r.options.Now().Add(r.options.CheckTimeout))
	if err != nil {
		return fmt.Errorf("self-check: %w", err)
	}
	answered := make(chan []byte, 1)
	r.decision.pushFirst(&job{data: asked, peer: r.probe.peer, arrived: r.options.Now(), probe: true, respond: func(b []byte) error {
		answered <- b
		return nil
	}})
	select {
	case <-ctx.Done():
		return fmt.Errorf("self-check: the replica did not answer itself within %s", r.options.CheckTimeout)
	case a := <-answered:
		if err := r.probe.understood(a); err != nil {
			return fmt.Errorf("self-check: %w", err)
		}
	}
	if err := r.options.Conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("self-check: the server did not answer within %s: %w", r.options.CheckTimeout, err)
	}
	return nil
}
