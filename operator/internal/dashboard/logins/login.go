package logins

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

const (
	connectTimeout = 5 * time.Second // the auth callout may take 1.8 s of it
	askTimeout     = 2 * time.Second
	pingTime       = 5 * time.Second
	maxActors      = 1000 // that are remembered
)

// login connects as each of the users that the token may make, until the servers let it hear
// their answers: to each user belongs a private inbox, which the client must name before it
// knows which user it is.
func (p *Pool) login(ctx context.Context, c Credential) (*nats.Conn, *person.Person, error) {
	subject, err := c.subject()
	if err != nil {
		return nil, nil, err
	}
	for _, actor := range p.actorsOf(subject) {
		nc, violated, err := p.dial(c.Token, actor)
		if err != nil {
			return nil, nil, err
		}
		who, err := ask(ctx, nc, violated)
		switch {
		case errors.Is(err, errOthersInbox):
			nc.Close()
			continue
		case err != nil:
			nc.Close()
			return nil, nil, err
		case who.User != actor: // the servers took the connection for another user's, and not by this token
			nc.Close()
			continue
		case who.Account != eventlog.AccountPeople && who.Account != eventlog.AccountFleet:
			nc.Close()
			return nil, nil, fmt.Errorf("%w: it belongs to account %s", ErrRefused, who.Account)
		}
		p.remember(subject, actor)
		name := c.Name
		if name == "" {
			name = who.User
		}
		return nc, &person.Person{Actor: who.User, Name: name, Connection: nc, Publish: who.publish()}, nil
	}
	return nil, nil, fmt.Errorf("%w: it is neither a person nor a service", ErrRefused)
}

func (p *Pool) dial(token, actor string) (*nats.Conn, <-chan error, error) {
	violated := make(chan error, 4)
	options := append(slices.Clone(p.o.NATS),
		nats.Name("fleet-operator dashboard"), nats.Token(token), nats.CustomInboxPrefix(eventlog.InboxPrefix(actor)),
		nats.Timeout(connectTimeout),
		// Each connection is decided about by the callout: one that broke is not good for the
		// next request, which asks for another.
		nats.NoReconnect(),
		// A server that is gone without a word cannot tell of a revocation.
		nats.PingInterval(pingTime), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case violated <- err:
			default: // the first ones are enough
			}
		}))
	nc, err := nats.Connect(p.o.URL, options...)
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, nil, ErrRefused
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS in a person's name: %w", err)
	}
	return nc, violated, nil
}

// Check says why a token cannot be shown to the NATS servers, with ErrUnusable; nil where it can.
func Check(c Credential) error {
	_, err := c.subject()
	return err
}

// subject says whose a token is. What the token says is not proven here: the servers decide who
// it is. It fails with ErrUnusable.
func (c Credential) subject() (string, error) {
	if c.Token == "" || len(c.Token) > eventlog.MaxTokenBytes {
		return "", fmt.Errorf("%w: it has %d bytes, and NATS takes 1 to %d", ErrUnusable, len(c.Token), eventlog.MaxTokenBytes)
	}
	subject := c.Subject
	if subject == "" {
		subject = subjectOf(c.Token)
	}
	if !eventlog.IsTokenSubject(subject) {
		return "", fmt.Errorf("%w: it does not say whose it is: the application at the provider must give JWT access tokens", ErrUnusable)
	}
	return subject, nil
}

// actorsOf are the users that a subject's token may make on NATS: first what it was the last
// time, for the auth callout bounds how many logins an identity has.
func (p *Pool) actorsOf(subject string) []string {
	person, service := "person-"+subject, "service-"+subject
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.actors[subject] == service {
		return []string{service, person}
	}
	return []string{person, service}
}

// remember notes which of its users a subject was.
func (p *Pool) remember(subject, actor string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.actors) >= maxActors {
		clear(p.actors) // a cache that can begin again
	}
	p.actors[subject] = actor
}

// subjectOf reads the claim sub of a JWT; empty where there is none.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Subject
}

// self is what the servers say of a connection's user.
type self struct {
	User        string `json:"user"`
	Account     string `json:"account"`
	Permissions *struct {
		Publish *struct {
			Allow []string `json:"allow"`
		} `json:"publish"`
	} `json:"permissions"`
}

// publish are the subjects on which the user may publish.
func (s self) publish() []string {
	if s.Permissions == nil || s.Permissions.Publish == nil {
		return nil // the callout grants nothing without a list
	}
	return s.Permissions.Publish.Allow
}

var errOthersInbox = errors.New("the servers refuse the inbox of this user")

// ask asks the server whose the connection is. It fails with errOthersInbox. violated receives
// what the server refuses.
func ask(ctx context.Context, nc *nats.Conn, violated <-chan error) (self, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 1)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return self{}, fmt.Errorf("ask NATS whose a connection is: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed
	if err := nc.PublishRequest(eventlog.UserInfoAPI, inbox, nil); err != nil {
		return self{}, fmt.Errorf("ask NATS whose a connection is: %w", err)
	}
	for {
		select {
		case err := <-violated:
			switch {
			case strings.Contains(err.Error(), inbox):
				return self{}, errOthersInbox
			case errors.Is(err, nats.ErrPermissionViolation):
				return self{}, fmt.Errorf("%w: it may not ask who it is", ErrRefused)
			}
		case m := <-answers:
			var said struct {
				Data self `json:"data"`
			}
			if err := json.Unmarshal(m.Data, &said); err != nil || said.Data.User == "" {
				return self{}, fmt.Errorf("ask NATS whose a connection is: it answers %.200q", m.Data)
			}
			return said.Data, nil
		case <-ctx.Done():
			return self{}, fmt.Errorf("ask NATS whose a connection is: %w", ctx.Err())
		}
	}
}
