package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/login"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// defaultContext is the name that a login gives to the first context.
const defaultContext = "default"

// loginFlags are the flags of login.
type loginFlags struct {
	issuer, clientID, project string
	noBrowser                 bool
	output                    string
}

// NewLogin makes the command login.
func NewLogin(s cli.Streams, b *Settings) *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in as a person, by the fleet's OpenID provider",
		Long: `Log in as a person, by the fleet's OpenID provider (the device flow, RFC 8628).

It prints a page and a code. Approve the login there, with any browser on any device;
then it goes on by itself. The token is kept in a file that only you may read, and is
renewed before it ends; two commands at once do not disturb each other.

The context (--context, or the selected one) names the servers and the provider. login
saves the flags in it. Where no context is selected, login makes one named ` + defaultContext + `.
The provider's administrator knows the client id and the project.

A service does not log in: give it a key of a machine user by --key-file or
$` + EnvKeyFile + `.`,
		Example: `  fleetctl login
  fleetctl login --context prod --url wss://nats.example.org:443 \
    --issuer https://auth.example.org --client-id 3012345 --project 3012340
  fleetctl login --no-browser -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.login(cmd.Context(), s, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.issuer, "issuer", "", "the provider, such as https://auth.example.org; default $"+EnvIssuer)
	flags.StringVar(&f.clientID, "client-id", "", "client id of fleetctl's application there; default $"+EnvClientID)
	flags.StringVar(&f.project, "project", "", "id of the fleet's project there; default $"+EnvProject)
	flags.BoolVar(&f.noBrowser, "no-browser", false, "do not open a browser on this machine")
	for _, flag := range []string{"issuer", "client-id", "project"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	complete.BindPipedOutput(cmd, &f.output)
	return cmd
}

// loginContext is the context of a login: a named one, with what flags and
// environment say in the place of what it lacks. isNew says that it is to be saved.
func (b *Settings) loginContext(f loginFlags) (c contexts.Context, save bool, err error) {
	store, err := b.store()
	if err != nil {
		return c, false, err
	}
	name := b.context
	if name == "" {
		name = b.streams.Getenv(EnvContext)
	}
	if name == "" {
		name = store.Selected()
	}
	if name == "" {
		name = defaultContext
	}
	c, err = store.Find(name)
	switch {
	case errors.Is(err, contexts.ErrUnknown) && contexts.CheckName(name) == nil:
		c = contexts.Context{Name: name, Origin: contexts.Own}
	case err != nil:
		return c, false, cli.Misused(err, b.streams.Program()+" context ls")
	case c.Origin == contexts.NATS:
		return c, false, cli.Misused(fmt.Errorf("context %s is the nats CLI's, and has no provider", c.Ref()), "--context NAME, with a name of your own")
	}
	before := c
	env := b.environment()
	for _, v := range []struct {
		value      *string
		typed, env string
	}{
		{&c.URL, b.url, env.URL},
		{&c.CAFile, b.caFile, env.CAFile},
		{&c.Issuer, f.issuer, env.Issuer},
		{&c.ClientID, f.clientID, env.ClientID},
		{&c.Project, f.project, env.Project},
	} {
		if v.typed != "" {
			*v.value = v.typed
		} else if *v.value == "" {
			*v.value = v.env
		}
	}
	if b.flags.Changed("insecure-plaintext") || env.InsecurePlaintext {
		c.InsecurePlaintext = b.plaintext || env.InsecurePlaintext
	}
	return c, c != before, nil
}

func (b *Settings) login(ctx context.Context, s cli.Streams, f loginFlags) error {
	asJSON, err := complete.PipedAsJSON(s, f.output)
	if err != nil {
		return err
	}
	if b.keyFile != "" || b.user != "" {
		return cli.Misused(errors.New("login is for persons: a service with --key-file, and a user with a password, are let in by that"), "any other command with the same flags, such as whoami")
	}
	c, save, err := b.loginContext(f)
	if err != nil {
		return err
	}
	if c.Issuer == "" {
		return cli.Misused(fmt.Errorf("context %s has no provider to log in at", c.Name), s.Program()+" login --url … --issuer … --client-id … --project …")
	}
	c.KeyFile = ""
	if err := c.Check(); err != nil {
		return cli.Misused(err, s.Program()+" login --help")
	}
	session, err := b.session(c)
	if err != nil {
		return err
	}
	t, err := approve(ctx, s, session, asJSON, f.noBrowser)
	if err != nil {
		return err
	}
	if err := b.saveLogin(c, save); err != nil {
		return err
	}
	conn := &query.Connection{Until: ctx, Find: func() (query.Target, error) {
		t, _, err := b.targetOf(c)
		return t, err
	}}
	nc, _, err := conn.Open()
	if err != nil {
		s.Warn("You are logged in at %s, and NATS does not let you in yet.\n", c.Issuer)
		return err
	}
	defer nc.Close()
	if s.Getenv(query.EnvURL) != "" {
		s.Warn("Note: $%s is set, and comes before the selected context: unset it, or use --context %s.\n", query.EnvURL, c.Name)
	}
	return whoIs(conn, nc, &t).tell(s, asJSON)
}

// approve has a person approve the login.
func approve(ctx context.Context, s cli.Streams, session *login.Session, asJSON, noBrowser bool) (login.Tokens, error) {
	p, err := session.Begin(ctx)
	if err != nil {
		return login.Tokens{}, cli.Failed(fmt.Errorf("log in: %w", err), "is --issuer right, and can this machine reach it?")
	}
	page := p.Complete
	if page == "" {
		page = p.URI
	}
	if asJSON {
		b, err := json.Marshal(map[string]any{
			"verification_uri": p.URI, "verification_uri_complete": p.Complete, "user_code": p.UserCode, "expires_at": p.Expires.UTC().Format(time.RFC3339),
		})
		if err != nil {
			return login.Tokens{}, err
		}
		s.Tell("%s\n", b)
	} else {
		s.Tell("Open %s in a browser, and check that it shows the code %s.\n", page, p.UserCode)
		s.Tell("(By hand: %s. The code ends at %s.)\n", p.URI, p.Expires.Local().Format(render.TimeLayout))
	}
	if s.Terminal && !asJSON && !noBrowser {
		openBrowser(ctx, s, page)
	}
	t, err := session.Complete(ctx, p)
	switch {
	case ctx.Err() != nil:
		return t, cli.Interrupted(s.Program() + " login")
	case err != nil:
		return t, cli.Failed(fmt.Errorf("log in: %w", err), s.Program()+" login")
	}
	return t, nil
}

// saveLogin keeps the context, and selects it where none is selected.
func (b *Settings) saveLogin(c contexts.Context, save bool) error {
	store, err := b.store()
	if err != nil {
		return err
	}
	if save {
		if err := store.Save(c); err != nil {
			return cli.Failed(err, "may you write there?")
		}
	}
	if store.Selected() != "" {
		return nil
	}
	if _, err := store.Select(c.Name); err != nil {
		return cli.Failed(err, "may you write there?")
	}
	return nil
}
