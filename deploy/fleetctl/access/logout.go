package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/login"
)

const logoutTimeout = 15 * time.Second

// NewLogout makes the command logout.
func NewLogout(s cli.Streams, b *Settings) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Log out: delete the cached tokens and revoke the refresh token",
		Long: `Delete the cached tokens of the context's login, and revoke the refresh token at the
provider. An access token that somebody copied stays valid until it expires. No command
of ` + s.Program() + ` revokes a person: deactivate the person at the provider, and keep the
lifetime of tokens short.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.logout(cmd.Context(), s) },
	}
}

func (b *Settings) logout(ctx context.Context, s cli.Streams) error {
	c, err := b.chosen()
	if err != nil {
		return err
	}
	if c.Issuer == "" {
		return cli.Misused(errors.New("this context does not log in by a provider, so there is no login to end"), s.Program()+" context ls")
	}
	session, err := b.session(c)
	if err != nil {
		return err
	}
	err = b.end(ctx, s, session)
	switch {
	case errors.Is(err, login.ErrLoggedOut):
		s.Tell("fleetctl was not logged in at %s.\n", c.Issuer)
		return nil
	case err != nil:
		return cli.Failed(fmt.Errorf("log out: %w", err), "may you write there?")
	}
	s.Tell("Logged out at %s.\n", c.Issuer)
	return nil
}

// end ends a login. Where the provider does not take it back, a person is told.
func (b *Settings) end(ctx context.Context, s cli.Streams, session *login.Session) error {
	bounded, cancel := context.WithTimeout(ctx, logoutTimeout)
	defer cancel()
	revoked, err := session.End(bounded)
	if err == nil && revoked != nil {
		s.Warn("The provider did not take the login back (%v); it ends there by itself.\n", revoked)
	}
	return err
}
