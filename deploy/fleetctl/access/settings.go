// Package access has the flags by which a person says which fleet is asked and as
// whom, and the commands by which a person gets in: login, logout, whoami, context.
package access

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/login"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog/spelling"
)

// The environment, beside what query names.
const (
	EnvContext   = "FLEET_CONTEXT"
	EnvCA        = "FLEET_NATS_CA"
	EnvIssuer    = "FLEET_ISSUER"
	EnvClientID  = "FLEET_CLIENT_ID"
	EnvProject   = "FLEET_PROJECT"
	EnvKeyFile   = "FLEET_KEY_FILE"
	EnvPlaintext = "FLEET_INSECURE_PLAINTEXT"
)

// Help says what comes before what.
const Help = `Which servers are asked, and as whom, comes from the first of these that there is:

  1. --context
  2. the environment, where FLEET_NATS_URL is set: FLEET_NATS_USER and
     FLEET_NATS_PASSWORD, or FLEET_ISSUER, FLEET_PROJECT and FLEET_KEY_FILE (a
     service) or FLEET_CLIENT_ID (a person); and FLEET_NATS_CA
  3. FLEET_CONTEXT
  4. the context that "context use" selected

Flags such as --url, --user, --ca-file and --key-file replace that part of it. So
does FLEET_KEY_FILE in a context that has a provider.`

// Settings are what flags, environment and contexts say of which servers are asked,
// and as whom.
type Settings struct {
	streams cli.Streams
	flags   *pflag.FlagSet

	context                              string
	url, user, password, caFile, keyFile string
	plaintext                            bool
}

// Bind adds the flags to the root command.
func Bind(root *cobra.Command, s cli.Streams) *Settings {
	f := root.PersistentFlags()
	b := &Settings{streams: s, flags: f}
	f.StringVar(&b.context, "context", "", "use this context (see context ls); default $"+EnvContext+", else the selected one")
	f.StringVar(&b.url, "url", "", "NATS servers, with commas between them; default $"+query.EnvURL)
	f.StringVar(&b.user, "user", "", "user on NATS; default $"+query.EnvUser)
	f.StringVar(&b.password, "password", "", "its password; default $"+query.EnvPassword)
	f.StringVar(&b.caFile, "ca-file", "", "PEM file of the CAs that signed the servers' certificates; default $"+EnvCA)
	f.StringVar(&b.keyFile, "key-file", "", "key of a machine user, by which a service logs in; default $"+EnvKeyFile)
	f.BoolVar(&b.plaintext, "insecure-plaintext", false, "show a token to servers over connections that are not encrypted; default $"+EnvPlaintext)
	for _, flag := range []string{"url", "user", "password", "insecure-plaintext"} {
		complete.Flag(root, flag, cobra.NoFileCompletions)
	}
	complete.Flag(root, "context", b.completeContexts)
	for _, flag := range []string{"ca-file", "key-file"} {
		if err := root.MarkPersistentFlagFilename(flag); err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
	return b
}

// completeContexts completes with the names of contexts.
func (b *Settings) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	store, err := b.store()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return store.Names(), cobra.ShellCompDirectiveNoFileComp
}

// completeContext completes the one argument of a command with a context's name.
func (b *Settings) completeContext(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return b.completeContexts(cmd, args, toComplete)
}

func (b *Settings) store() (contexts.Store, error) {
	s, err := contexts.Directories(b.streams.Getenv)
	if err != nil {
		return s, cli.Failed(err, "set HOME or XDG_CONFIG_HOME")
	}
	return s, nil
}

// Target is which servers are asked, and as whom.
func (b *Settings) Target() (query.Target, error) {
	t, _, err := b.target()
	return t, err
}

// target gives the session too, where the login is by a provider.
func (b *Settings) target() (query.Target, *login.Session, error) {
	c, err := b.chosen()
	if err != nil {
		return query.Target{}, nil, err
	}
	return b.targetOf(c)
}

func (b *Settings) targetOf(c contexts.Context) (query.Target, *login.Session, error) {
	t := query.Target{URL: c.URL, User: c.User, CAFile: c.CAFile, Context: c.Ref(), Bearer: c.ByToken(), InsecurePlaintext: c.InsecurePlaintext}
	fail := func(err error) (query.Target, *login.Session, error) {
		return query.Target{}, nil, cli.Failed(err, b.streams.Program()+" context show "+c.Ref())
	}
	if c.Issuer != "" && c.User == "" {
		s, err := b.session(c)
		if err != nil {
			return query.Target{}, nil, err
		}
		t.Tokens, t.LoginTry = s, b.loginTry(c)
		return t, s, nil
	}
	var err error
	if t.Options, err = c.Options(); err != nil {
		return fail(err)
	}
	if t.Password, err = c.ReadPassword(); err != nil {
		return fail(err)
	}
	return t, nil, nil
}

// loginTry is what to try where a context's login has no token.
func (b *Settings) loginTry(c contexts.Context) string {
	switch {
	case c.KeyFile != "":
		return "another key: this one may be removed or ended at the provider, or its machine user deactivated"
	case c.Name != "":
		return b.streams.Program() + " login --context " + c.Name
	}
	return b.streams.Program() + " login"
}

// session is the login of a context by its provider.
func (b *Settings) session(c contexts.Context) (*login.Session, error) {
	if err := c.CheckProvider(); err != nil {
		return nil, cli.Misused(err, b.streams.Program()+" login --help")
	}
	store, err := b.store()
	if err != nil {
		return nil, err
	}
	s, err := login.New(login.Options{
		Account: login.Account{Context: c.Name, Issuer: c.Issuer, Project: c.Project, ClientID: c.ClientID, KeyFile: c.KeyFile, CAFile: c.CAFile},
		Dir:     store.TokensDir(), Now: b.streams.Now,
	})
	if err != nil {
		return nil, cli.Failed(err, "name a file that is there and that you may read")
	}
	return s, nil
}

// Chosen is the context that flags and environment name, with what flags replace in it.
func (b *Settings) Chosen() (contexts.Context, error) { return b.chosen() }

// chosen is the context that flags and environment name, with what flags replace in
// it.
func (b *Settings) chosen() (contexts.Context, error) {
	c, err := b.base()
	if err != nil {
		return c, err
	}
	return b.replaced(c)
}

// base is what the first of the sources in Help says.
func (b *Settings) base() (contexts.Context, error) {
	env := b.environment()
	name := b.context
	switch {
	case name != "":
	case env.URL != "":
		if env.User != "" && env.KeyFile != "" {
			return env, cli.Misused(fmt.Errorf("$%s and $%s say two things of who logs in", query.EnvUser, EnvKeyFile), "unset one of the two")
		}
		return env, nil
	default:
		if name = b.streams.Getenv(EnvContext); name == "" {
			store, err := b.store()
			if err != nil {
				return env, nil //nolint:nilerr // without a configuration directory there are no contexts
			}
			name = store.Selected()
		}
	}
	if name == "" {
		return env, nil
	}
	c, err := b.find(name)
	if key := b.streams.Getenv(EnvKeyFile); err == nil && key != "" && c.Issuer != "" {
		c.KeyFile = key
	}
	return c, err
}

// environment is the environment as a context without a name.
func (b *Settings) environment() contexts.Context {
	get := b.streams.Getenv
	c := contexts.Context{
		Origin: contexts.Own, URL: get(query.EnvURL), User: get(query.EnvUser), Password: get(query.EnvPassword), CAFile: get(EnvCA),
		Issuer: get(EnvIssuer), ClientID: get(EnvClientID), Project: get(EnvProject), KeyFile: get(EnvKeyFile), InsecurePlaintext: get(EnvPlaintext) != "",
	}
	return c
}

// find gives a context, or an error that names those whose names are near.
func (b *Settings) find(name string) (contexts.Context, error) {
	store, err := b.store()
	if err != nil {
		return contexts.Context{}, err
	}
	c, err := store.Find(name)
	switch {
	case errors.Is(err, contexts.ErrUnknown):
		return c, cli.Misused(err, b.near(store, name))
	case err != nil:
		return c, cli.Misused(err, b.streams.Program()+" context ls")
	}
	return c, nil
}

// near is what to try for a name that no context has.
func (b *Settings) near(store contexts.Store, name string) string {
	try := b.streams.Program() + " context ls"
	if near := spelling.Closest(name, store.Names()); len(near) > 0 {
		try = "--context " + strings.Join(near, ", or --context ")
	}
	return try
}

// replaced puts what was typed in the place of what a context has.
func (b *Settings) replaced(c contexts.Context) (contexts.Context, error) {
	if b.user != "" && b.keyFile != "" {
		return c, cli.Misused(errors.New("--user and --key-file exclude each other: one logs in by a password, the other by a key"), "give one of the two")
	}
	if b.user != "" { // another login on the same servers
		was := c
		c = contexts.Context{Name: was.Name, Origin: was.Origin, URL: was.URL, CAFile: was.CAFile, User: b.user}
		if was.Name == "" || was.User == b.user {
			c.Password, c.PasswordFile = was.Password, was.PasswordFile
		}
	}
	if b.flags.Changed("password") {
		c.Password, c.PasswordFile = b.password, ""
	}
	if b.keyFile != "" {
		c.KeyFile, c.User, c.Password, c.PasswordFile, c.CredsFile = b.keyFile, "", "", "", ""
		env := b.environment()
		for value, from := range map[*string]string{&c.Issuer: env.Issuer, &c.Project: env.Project} {
			if *value == "" {
				*value = from
			}
		}
		if c.Issuer == "" {
			return c, cli.Misused(errors.New("--key-file needs the provider to which the key belongs"),
				"a context that has it ("+b.streams.Program()+" context add --help), or $"+EnvIssuer+" and $"+EnvProject)
		}
	}
	if b.url != "" {
		c.URL = b.url
	}
	if b.caFile != "" {
		c.CAFile = b.caFile
	}
	if b.flags.Changed("insecure-plaintext") {
		c.InsecurePlaintext = b.plaintext
	}
	return c, nil
}
