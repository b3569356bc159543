package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
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
		complete(cmd, flag, cobra.NoFileCompletions)
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

// listed is a context as it is shown: without a secret.
type listed struct {
	Name     string          `json:"name"`
	Selected bool            `json:"selected"`
	Origin   contexts.Origin `json:"origin"`
	Servers  string          `json:"servers"`
	Login    string          `json:"login"`
}

func (b *Settings) newList(s cli.Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "ls",
		Aliases:           []string{"list"},
		Short:             "List the contexts, those of the nats CLI too",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if _, err := outputOf(s, output); err != nil {
				return err
			}
			return b.list(s, output == render.OutputJSON)
		},
	}
	bindOutput(cmd, &output)
	return cmd
}

func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", render.OutputText, "text or json")
	complete(cmd, "output", cobra.FixedCompletions([]string{render.OutputText, render.OutputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

func (b *Settings) list(s cli.Streams, asJSON bool) error {
	store, err := b.store()
	if err != nil {
		return err
	}
	all, err := store.List()
	if err != nil {
		s.Warn("Note: not every context can be read: %v\n", err)
	}
	selected := store.Selected()
	out := []listed{}
	for _, c := range all {
		out = append(out, listed{Name: c.Ref(), Selected: c.Ref() == selected, Origin: c.Origin, Servers: c.Servers(), Login: c.Login()})
	}
	if asJSON {
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		s.Tell("%s\n", b)
		return nil
	}
	if len(out) == 0 {
		s.Warn("There is no context yet. Try: %s login --help, or %s context add --help\n", s.Program(), s.Program())
		return nil
	}
	rows := [][]string{{"", "NAME", "ORIGIN", "SERVERS", "LOGIN"}}
	for _, l := range out {
		mark := ""
		if l.Selected {
			mark = "*"
		}
		rows = append(rows, []string{mark, l.Name, string(l.Origin), l.Servers, l.Login})
	}
	render.Table(s, rows)
	if env := s.Getenv(query.EnvURL); env != "" {
		s.Warn("Note: $%s is set, and comes before the selected context.\n", query.EnvURL)
	}
	return nil
}

func (b *Settings) newShow(s cli.Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a context, or what is used now, without its secrets",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: b.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := outputOf(s, output); err != nil {
				return err
			}
			c, err := b.chosen()
			if len(args) == 1 {
				c, err = b.find(args[0])
			}
			if err != nil {
				return err
			}
			return b.show(s, c, output == render.OutputJSON)
		},
	}
	bindOutput(cmd, &output)
	return cmd
}

func (b *Settings) show(s cli.Streams, c contexts.Context, asJSON bool) error {
	if c.URL == "" && c.Name == "" {
		return cli.Failed(errors.New("no context is selected, and no server is given"), s.Program()+" context ls")
	}
	hidden := ""
	if c.Password != "" {
		hidden = "(hidden)"
	}
	name := c.Ref()
	if name == "" {
		name = "(flags and environment)"
	}
	lines := []struct{ key, title, value string }{
		{"name", "Name", name},
		{"origin", "Origin", string(c.Origin)},
		{"servers", "Servers", c.Servers()},
		{"ca_file", "CA file", c.CAFile},
		{"login", "Login", c.Login()},
		{"issuer", "Provider", c.Issuer},
		{"client_id", "Client id", c.ClientID},
		{"project", "Project", c.Project},
		{"key_file", "Key file", c.KeyFile},
		{"user", "User", c.User},
		{"password", "Password", hidden},
		{"password_file", "Password file", c.PasswordFile},
	}
	if asJSON {
		out := map[string]any{}
		for _, l := range lines {
			if l.value != "" {
				out[l.key] = l.value
			}
		}
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		s.Tell("%s\n", b)
		return nil
	}
	for _, l := range lines {
		if l.value != "" {
			s.Tell("%s\n", strings.TrimRight(fmt.Sprintf("%-15s%s", l.title+":", l.value), " "))
		}
	}
	return nil
}

func (b *Settings) newRemove(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME",
		Aliases:           []string{"remove"},
		Short:             "Remove a context of your own; its login stays cached until logout",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: b.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := b.find(args[0])
			switch {
			case err != nil:
				return err
			case c.Origin == contexts.NATS:
				return cli.Misused(fmt.Errorf("context %s is the nats CLI's", c.Ref()), "nats context rm "+c.Name)
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
