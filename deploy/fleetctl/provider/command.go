// Package provider has the command zitadel, and setup below it: what is made at a fleet's
// provider.
package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/deviceflow"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// NewZitadel makes the command zitadel with those below it, some of which are others'.
func NewZitadel(s cli.Streams, b *access.Settings, more ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "zitadel",
		Short: "Install and set up the fleet's provider, Zitadel",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newSetup(s, b))
	cmd.AddCommand(more...)
	return cmd
}

// setupCommand is one command line of setup.
type setupCommand struct {
	streams  cli.Streams
	settings *access.Settings
	wanted   setup.Wanted

	issuer, clientID, keyFile, tokenFile string
	dir                                  string
	dryRun, removeKey                    bool
	output                               string
}

func newSetup(s cli.Streams, b *access.Settings) *cobra.Command {
	c := &setupCommand{streams: s, settings: b}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make at the provider what a fleet needs there",
		Long: `Make at the provider what a fleet needs there:

  organization of the devices   apart from people: who manages devices has no power over people
  project                       in the organization of the people; it puts roles into tokens
  roles                         viewer, operator, admin; service-viewer, service-operator; device
  application fleet-callout     an API, by whose key the callout asks about opaque tokens
  application fleetctl          for persons at a terminal: native, device code
  application fleet-dashboard   for persons in a browser: web, PKCE (with --dashboard-url)
  account fleet-enrolment       ORG_USER_MANAGER of the devices' organization, for fleetctl enroll

Objects are found by their names, so that a second run makes only what is missing. It
corrects what was changed, and leaves alone what it does not know. The two keys are
written to files of mode 0600 in the directory --out, and are never shown. A key file
is kept while the provider has its key, until 30 days before the key ends. A key file
that is replaced is kept as NAME.old.

You sign in as an account with the role IAM_OWNER: by the key that the installer of
Zitadel made (--admin-key-file), by its personal access token (--admin-token-file), or
as a person, where an application of type Native with the grant type Device code is
there (--client-id). The token is kept in memory alone.

With --remove-admin-key the key of --admin-key-file is removed at the provider once all
is made: nothing uses it any more, and it has all rights there.`,
		Example: `  fleetctl zitadel setup --issuer https://auth.example.org \
    --admin-key-file fleet-setup.json --out fleet-keys --dry-run
  fleetctl zitadel setup --issuer https://auth.example.org \
    --admin-key-file fleet-setup.json --out fleet-keys \
    --dashboard-url https://fleet.example.org`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	c.bind(cmd)
	return cmd
}

func (c *setupCommand) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.issuer, "issuer", "", "the provider, such as https://auth.example.org (default the context's)")
	f.StringVar(&c.keyFile, "admin-key-file", "", "key of an account with the role IAM_OWNER")
	f.StringVar(&c.tokenFile, "admin-token-file", "", "file with a personal access token of such an account")
	f.StringVar(&c.clientID, "client-id", "", "client id of an application by which you sign in as a person")
	f.StringVar(&c.dir, "out", "fleet-keys", "directory of the keys")
	f.StringVar(&c.wanted.DeviceOrganization, "device-organization", setup.DefaultDeviceOrganization, "name of the organization of the devices")
	f.StringVar(&c.wanted.PeopleOrganization, "people-organization", "", "name of the organization of the people (default the provider's default one)")
	f.StringVar(&c.wanted.Project, "project-name", setup.DefaultProject, "name of the project")
	f.StringVar(&c.wanted.DashboardURL, "dashboard-url", "", "where the dashboard is, such as https://fleet.example.org")
	f.DurationVar(&c.wanted.KeyLife, "key-life", setup.DefaultKeyLife, "how long a key that is made holds")
	f.BoolVar(&c.dryRun, "dry-run", false, "show what would be made, and make nothing")
	f.BoolVar(&c.removeKey, "remove-admin-key", false, "once all is made, remove the key of --admin-key-file at the provider")
	for _, flag := range []string{"issuer", "client-id", "device-organization", "people-organization", "project-name", "dashboard-url", "key-life"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	complete.BindOutput(cmd, &c.output)
	for _, flag := range []string{"admin-key-file", "admin-token-file"} {
		if err := cmd.MarkFlagFilename(flag); err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
	if err := cmd.MarkFlagDirname("out"); err != nil {
		panic(err)
	}
}

const help = " zitadel setup --help"

func (c *setupCommand) run(ctx context.Context) error {
	if err := complete.CheckTextOrJSON(c.output); err != nil {
		return err
	}
	if err := c.wanted.Check(); err != nil {
		return cli.Misused(err, c.streams.Program()+help)
	}
	if c.removeKey && c.keyFile == "" {
		return cli.Misused(errors.New("--remove-admin-key is about the key of a file, and none is given"), "--admin-key-file FILE")
	}
	at, err := c.place()
	if err != nil {
		return err
	}
	client, session, err := c.signIn(ctx, at)
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("")
	case err != nil:
		return err
	}
	s, err := setup.New(setup.Options{Wanted: c.wanted, Client: client, Dir: c.dir, Now: c.streams.Now})
	if err != nil {
		return cli.Misused(err, c.streams.Program()+help)
	}
	r := report{streams: c.streams, issuer: at.Issuer, dryRun: c.dryRun, asJSON: c.output == render.OutputJSON}
	var out setup.Outcome
	if c.dryRun {
		out, err = s.Look(ctx)
	} else {
		if out, err = s.Carry(ctx, r.step); err == nil {
			err = save(out, c.dir, at)
		}
		if err == nil && c.removeKey {
			err = session.RemoveKey(ctx, client)
			r.keyRemoved = c.keyFile
		}
	}
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("the same command again: it goes on where it stopped")
	case err != nil:
		return cli.Failed(err, "the same command again, once that is mended: it goes on where it stopped")
	}
	return r.outcome(out)
}

// save keeps what fleetctl install needs to know of the provider.
func save(o setup.Outcome, dir string, at contexts.Context) error {
	var ca []byte
	if at.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(at.CAFile); err != nil {
			return err
		}
	}
	return o.Save(dir, at.Issuer, ca)
}

// place is the provider, and which CA is trusted for it.
func (c *setupCommand) place() (contexts.Context, error) {
	at, err := c.settings.Chosen()
	if err != nil {
		return at, err
	}
	if c.issuer != "" {
		at.Issuer = c.issuer
	}
	if at.Issuer == "" {
		return at, cli.Misused(errors.New("the provider is not known"), "--issuer https://auth.example.org, or a context that has it")
	}
	plaintext, err := openid.CheckIssuer(at.Issuer)
	switch {
	case err != nil:
		return at, cli.Misused(fmt.Errorf("--issuer %w", err), c.streams.Program()+help)
	case plaintext && !at.InsecurePlaintext:
		return at, cli.Misused(fmt.Errorf("--issuer %q is not encrypted", at.Issuer), "https://, or --insecure-plaintext where the network can be trusted")
	}
	return at, nil
}

func (c *setupCommand) signIn(ctx context.Context, at contexts.Context) (*zitadel.Client, *zitadel.Session, error) {
	o := zitadel.SignInOptions{
		Issuer: at.Issuer, CAFile: at.CAFile, ClientID: c.clientID, KeyFile: c.keyFile, TokenFile: c.tokenFile, Now: c.streams.Now, Prompt: c.prompt,
	}
	if o.ClientID+o.KeyFile+o.TokenFile == "" {
		return nil, nil, cli.Misused(errors.New("it is not known how you sign in at the provider"), "--admin-key-file FILE, with the key that the installer of Zitadel made")
	}
	session, err := zitadel.SignIn(ctx, o)
	if err != nil {
		return nil, nil, cli.Failed(err, "--admin-key-file FILE, of an account with the role IAM_OWNER")
	}
	client, err := zitadel.New(zitadel.Options{Issuer: at.Issuer, Tokens: session, CAFile: at.CAFile, Now: c.streams.Now})
	if err != nil {
		return nil, nil, cli.Failed(err, "--issuer, --ca-file")
	}
	return client, session, nil
}

// prompt tells a person how to approve the sign-in. It is no part of the answer.
func (c *setupCommand) prompt(p deviceflow.Prompt) {
	page := p.Complete
	if page == "" {
		page = p.URI
	}
	c.streams.Warn("Sign in at the provider as an account with the role IAM_OWNER.\nOpen %s in a browser, and check that it shows the code %s.\nfleetctl waits until %s.\n",
		page, p.UserCode, p.Expires.Local().Format(time.TimeOnly))
}
