package query

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/eventlog"
)

// Target is which servers are asked, and what a person shows to them: a token, the
// options of a context, or a user with a password.
type Target struct {
	URL            string
	User, Password string
	CAFile         string
	Context        string // its name; empty where flags or the environment name the servers
	Tokens         Tokens // nil: no token
	LoginTry       string // what to try where Tokens have none
	Options        []nats.Option
	// Bearer says that Options show a bearer token, as a context of the nats CLI may.
	Bearer bool
	// InsecurePlaintext permits a token over a connection that is not encrypted.
	InsecurePlaintext bool
}

// Tokens have the token of a person or a service at hand.
type Tokens interface {
	// Ready makes sure that there is a token which is not about to end.
	Ready(context.Context) error
	// Show gives the token at once.
	Show() string
	// Keep has the next token at hand before one ends, until the context ends.
	Keep(ctx context.Context, report func(error))
	// Actors are the users that the token may make on NATS, the likeliest first.
	Actors() []string
	// WhyRefused looks in the token for reasons why NATS would not take it.
	WhyRefused() []string
}

// check refuses what must not be tried.
func (t Target) check() error {
	all, err := contexts.ParseURL(t.URL)
	if err != nil {
		return cli.Misused(err, "--url wss://nats.example.org:443")
	}
	if one := t.plaintext(all); one != "" && (t.Tokens != nil || t.Bearer) && !t.InsecurePlaintext {
		return cli.Misused(fmt.Errorf("%s is not encrypted, and anyone who hears a token can use it", one),
			"tls:// or wss://, with --ca-file where the CA is your own; or --insecure-plaintext where the network can be trusted")
	}
	return nil
}

// plaintext gives the first server to which nothing would be encrypted. With CAs of
// one's own the NATS client demands TLS of servers of scheme nats too.
func (t Target) plaintext(all trust.Addresses) string {
	if t.CAFile != "" && !all.WebSocket() {
		return ""
	}
	return all.Plaintext()
}

// inboxToken is what one token of a subject may be.
var inboxToken = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// options are what the NATS client needs, as one of the users that the target may be.
func (t Target) options(actor string) []nats.Option {
	var o []nats.Option
	if t.CAFile != "" {
		o = append(o, nats.RootCAs(t.CAFile))
	}
	// A device's inbox has its id, and that of others their user.
	if inbox := strings.TrimPrefix(actor, "device-"); inboxToken.MatchString(inbox) {
		o = append(o, nats.CustomInboxPrefix(eventlog.InboxPrefix(inbox)))
	}
	switch {
	case t.Tokens != nil:
		o = append(o, nats.TokenHandler(t.Tokens.Show))
	case t.Options != nil:
		o = append(o, t.Options...)
	default:
		o = append(o, nats.UserInfo(t.User, t.Password))
	}
	return o
}

// actors are the users that the servers may take the target for.
func (t Target) actors() []string {
	if t.Tokens != nil {
		return t.Tokens.Actors()
	}
	return []string{t.User}
}

// refusal is the error of a login that the servers refused. They never say why.
func (t Target) refusal(s string) error {
	if t.Tokens == nil {
		who := fmt.Sprintf("as %q: the server does not know this user or password", t.User)
		if t.Options != nil {
			who = fmt.Sprintf("by context %s: the server does not take its credentials", t.Context)
		}
		return cli.Failed(fmt.Errorf("connect to %s %s", s, who),
			"the user of a person by --user and --password, or read .fleet/env again: passwords change with the data directory")
	}
	why := t.Tokens.WhyRefused()
	if len(why) > 0 {
		return cli.Failed(fmt.Errorf("connect to %s: the servers refuse this login: %w", s, errors.New(why[0])), "once that is mended: "+t.LoginTry)
	}
	return cli.Failed(fmt.Errorf("connect to %s: the servers refuse this login, and its token looks right", s),
		"ask an admin for the reason: fleetctl log --type auth -o text --since 10m; access may be revoked, or no auth callout answers")
}

// loginFailed is the error where there is no token to show.
func (t Target) loginFailed(err error) error {
	var f *cli.Failure
	if errors.As(err, &f) {
		return err
	}
	return cli.Failed(fmt.Errorf("log in: %w", err), t.LoginTry)
}
