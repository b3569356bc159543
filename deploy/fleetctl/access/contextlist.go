package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

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
			if _, err := complete.PipedAsJSON(s, output); err != nil {
				return err
			}
			return b.list(s, output == render.OutputJSON)
		},
	}
	complete.BindOutput(cmd, &output)
	return cmd
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
			if _, err := complete.PipedAsJSON(s, output); err != nil {
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
	complete.BindOutput(cmd, &output)
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
