package access

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/login"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// identity is who one is: what the servers say of the connection, and the token of
// its bearer.
type identity struct {
	Actor   string     `json:"actor"`             // the user on NATS, by which events name it
	Account string     `json:"account,omitempty"` // empty: the servers do not tell it to this user
	Name    string     `json:"name,omitempty"`    // of a person, for people
	Roles   []string   `json:"roles,omitempty"`   // of the token
	Issuer  string     `json:"issuer,omitempty"`
	Expires *time.Time `json:"token_expires,omitempty"` // it is renewed before
	Context string     `json:"context,omitempty"`
	Server  string     `json:"server"`
}

// NewWhoami makes the command whoami.
func NewWhoami(s cli.Streams, b *Settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show who the servers say that you are",
		Long: `Show who the servers say that you are: the user by which events name you (the actor),
the account, and of a token the roles, the name and when it ends.

Viewers and operators are in account PEOPLE, admins in account FLEET.`,
		Example: "  fleetctl whoami\n  fleetctl whoami --context prod -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON := output == render.OutputJSON
			if _, err := complete.PipedAsJSON(s, output); err != nil {
				return err
			}
			t, session, err := b.target()
			if err != nil {
				return err
			}
			c := &query.Connection{Until: cmd.Context(), Target: t}
			nc, _, err := c.Open()
			if err != nil {
				return err
			}
			defer nc.Close()
			var tokens *login.Tokens
			if session != nil {
				held := session.Tokens()
				tokens = &held
			}
			i := whoIs(c, nc, tokens)
			return i.tell(s, asJSON)
		},
	}
	complete.BindOutput(cmd, &output)
	return cmd
}

// whoIs gathers who a connection is.
func whoIs(c *query.Connection, nc *nats.Conn, t *login.Tokens) identity {
	i := identity{Actor: c.User, Account: c.Self.Account, Context: c.Context, Server: nc.ConnectedUrlRedacted()}
	if t == nil {
		return i
	}
	claims, _ := t.Claims()
	i.Name, i.Roles, i.Issuer = t.Name, claims.Roles, t.Issuer
	if ends := t.Expires.UTC().Truncate(time.Second); !ends.IsZero() {
		i.Expires = &ends
	}
	return i
}

func (i identity) tell(s cli.Streams, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(i)
		if err != nil {
			return err
		}
		s.Tell("%s\n", b)
		return nil
	}
	account := i.Account
	if account == "" {
		account = "unknown: the servers do not tell it to this user"
	}
	expires := ""
	if i.Expires != nil {
		expires = i.Expires.Local().Format(render.TimeLayout) + " (in " + i.Expires.Sub(s.Now()).Round(time.Second).String() + "; it is renewed before)"
	}
	for _, line := range []struct{ name, value string }{
		{"Actor", i.Actor},
		{"Name", i.Name},
		{"Account", account},
		{"Roles", strings.Join(i.Roles, ", ")},
		{"Provider", i.Issuer},
		{"Token ends", expires},
		{"Context", i.Context},
		{"Server", i.Server},
	} {
		if line.value != "" {
			s.Tell("%-12s%s\n", line.name+":", render.Printable(line.value))
		}
	}
	return nil
}
