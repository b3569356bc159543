package access

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/login"
)

// NewContext makes the command context with those below it.
func NewContext(s cli.Streams, b *Settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "context",
		Aliases: []string{"contexts", "ctx"},
		Short:   "Keep ways into fleets under names, and choose between them",
		Long: `Keep ways into fleets under names, and choose between them.

A context is the NATS servers with their CA, and by what one logs in: the provider
(see login), a user with a password, or a credentials file. Those of the nats CLI are
there too: as nats:NAME, or as NAME where no context of your own has that name.

` + Help,
	}
	cmd.AddCommand(b.newAdd(s), b.newUse(s), b.newList(s), b.newShow(s), b.newRemove(s))
	return cmd
}

func (b *Settings) newAdd(s cli.Streams) *cobra.Command {
	var issuer, clientID, project, passwordFile, credsFile string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a context from what the flags say",
		Long: `Add a context from what the flags say: --url, and --issuer with --project and
--client-id (a person) or --key-file (a service); or --user with --password or
--password-file; or --creds-file. The file that it is kept in only you may read.

The first context is selected at once.`,
		Example: `  fleetctl context add prod --url wss://nats.example.org:443 \
    --issuer https://auth.example.org --client-id 3012345 --project 3012340
  fleetctl context add lab --url tls://10.0.0.7:4222 --ca-file lab-ca.pem \
    --user alice --password-file alice.txt`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			c := contexts.Context{
				Name: args[0], Origin: contexts.Own, URL: b.url, CAFile: b.caFile, Issuer: issuer, ClientID: clientID, Project: project,
				KeyFile: b.keyFile, User: b.user, Password: b.password, PasswordFile: passwordFile, CredsFile: credsFile, InsecurePlaintext: b.plaintext,
			}
			return b.add(s, c, overwrite)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&issuer, "issuer", "", "the OpenID provider, such as https://auth.example.org")
	flags.StringVar(&clientID, "client-id", "", "client id of fleetctl's application there, for persons")
	flags.StringVar(&project, "project", "", "id of the fleet's project there")
	flags.StringVar(&passwordFile, "password-file", "", "file that holds the password of --user")
	flags.StringVar(&credsFile, "creds-file", "", "credentials file of a NATS user, as nsc makes it")
	flags.BoolVar(&overwrite, "overwrite", false, "replace a context of that name")
	for _, flag := range []string{"issuer", "client-id", "project"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	for _, flag := range []string{"password-file", "creds-file"} {
		if err := cmd.MarkFlagFilename(flag); err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
	return cmd
}

func (b *Settings) add(s cli.Streams, c contexts.Context, overwrite bool) error {
	if err := c.Check(); err != nil {
		return cli.Misused(err, s.Program()+" context add --help")
	}
	store, err := b.store()
	if err != nil {
		return err
	}
	was, unknown := store.Find(c.Name)
	if unknown == nil && was.Origin == contexts.Own && !overwrite {
		return cli.Misused(fmt.Errorf("context %s is there already", c.Name), "another name, or --overwrite")
	}
	if err := store.Save(c); err != nil {
		return cli.Failed(err, "may you write there?")
	}
	s.Tell("Added context %s.\n", c.Name)
	if unknown == nil && was.Origin == contexts.NATS {
		s.Warn("Note: the nats CLI has a context %s too; it is nats:%s here.\n", c.Name, c.Name)
	}
	if store.Selected() != "" {
		return nil
	}
	return b.use(s, c.Name)
}

func (b *Settings) newUse(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Select the context that is used where none is named",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: b.completeContext,
		RunE:              func(_ *cobra.Command, args []string) error { return b.use(s, args[0]) },
	}
}

func (b *Settings) use(s cli.Streams, name string) error {
	c, err := b.find(name)
	if err != nil {
		return err
	}
	store, err := b.store()
	if err != nil {
		return err
	}
	if c, err = store.Select(c.Ref()); err != nil {
		return cli.Failed(err, "may you write there?")
	}
	s.Tell("Context %s is selected: %s.\n", c.Ref(), c.Servers())
	return nil
}

func (b *Settings) newRemove(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME",
		Aliases:           []string{"remove"},
		Short:             "Remove a context of your own, and log out of it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: b.completeContext,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := b.find(args[0])
			switch {
			case err != nil:
				return err
			case c.Origin == contexts.NATS:
				return cli.Misused(fmt.Errorf("context %s is the nats CLI's", c.Ref()), "nats context rm "+c.Name)
			}
			if session, err := b.session(c); c.ClientID != "" && err == nil {
				if err := b.end(cmd.Context(), s, session); err != nil && !errors.Is(err, login.ErrLoggedOut) {
					return cli.Failed(fmt.Errorf("log out of context %s: %w", c.Name, err), "may you write there?")
				}
			}
			store, err := b.store()
			if err != nil {
				return err
			}
			if err := store.Remove(c.Name); err != nil {
				return cli.Failed(err, "may you write there?")
			}
			s.Tell("Removed context %s.\n", c.Name)
			return nil
		},
	}
}
