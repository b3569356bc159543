package enrolling

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/deviceflow"
	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/zitadel"
)

// EnvOrganization has the id of the devices' organization at the provider.
const EnvOrganization = "FLEET_DEVICES_ORGANIZATION"

// ProviderFlags are how an admin signs in at the provider, and where devices are there.
type ProviderFlags struct {
	issuer, project, clientID, organization string
	keyFile, tokenFile, caFile              string

	once     sync.Once
	provider enroll.Provider
	err      error
}

// Bind adds the flags.
func (f *ProviderFlags) Bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.issuer, "issuer", "", "the devices' provider, such as https://auth.example.org (default the context's)")
	flags.StringVar(&f.project, "project", "", "id of the fleet's project there (default the context's)")
	flags.StringVar(&f.organization, "organization", "", "id of the devices' organization there; default $"+EnvOrganization)
	flags.StringVar(&f.clientID, "client-id", "", "client id of fleetctl's application there, by which you sign in as an admin (default the context's)")
	flags.StringVar(&f.caFile, "provider-ca-file", "", "PEM file of the CAs that signed the provider's certificate (default the context's); the system's are trusted too")
	flags.StringVar(&f.keyFile, "admin-key-file", "", "key of a service account that may manage the devices' users, in place of a sign-in")
	flags.StringVar(&f.tokenFile, "admin-token-file", "", "file with a personal access token of such an account, in place of a sign-in")
}

// CAFile is the file of the provider's CAs, where a flag names it.
func (f *ProviderFlags) CAFile() string { return f.caFile }

// Complete puts the flags in the place of what a context has.
func (f *ProviderFlags) Complete(c contexts.Context) contexts.Context {
	for value, flag := range map[*string]string{&c.Issuer: f.issuer, &c.Project: f.project, &c.ClientID: f.clientID} {
		if flag != "" {
			*value = flag
		}
	}
	return c
}

// SignIn signs in, once for all devices. The token is kept in memory alone.
func (f *ProviderFlags) SignIn(ctx context.Context, s cli.Streams, c contexts.Context) (enroll.Provider, error) {
	f.once.Do(func() { f.provider, f.err = f.signIn(ctx, s, c) })
	return f.provider, f.err
}

func (f *ProviderFlags) signIn(ctx context.Context, s cli.Streams, c contexts.Context) (enroll.Provider, error) {
	client, err := f.Client(ctx, s, c)
	if err != nil {
		return nil, err
	}
	return users{client}, nil
}

// Client signs in, each time that it is called.
func (f *ProviderFlags) Client(ctx context.Context, s cli.Streams, c contexts.Context) (*zitadel.Client, error) {
	if f.organization == "" {
		f.organization = s.Getenv(EnvOrganization)
	}
	switch {
	case c.Issuer == "":
		return nil, cli.Misused(errors.New("the devices' provider is not known"), "--issuer https://auth.example.org, or a context that has it")
	case f.organization == "":
		return nil, cli.Misused(errors.New("the devices' organization at the provider is not known"), "--organization ID, as fleetctl zitadel setup prints it, or $"+EnvOrganization)
	case f.keyFile == "" && f.tokenFile == "" && c.ClientID == "":
		return nil, cli.Misused(errors.New("it is not known how you sign in at the provider"), "--admin-key-file FILE (a service account), or --client-id ID of fleetctl's application (a person)")
	}
	plaintext, err := openid.CheckIssuer(c.Issuer)
	switch {
	case err != nil:
		return nil, cli.Misused(fmt.Errorf("--issuer %w", err), "--issuer https://auth.example.org")
	case plaintext && !c.InsecurePlaintext:
		return nil, cli.Misused(fmt.Errorf("--issuer %q is not encrypted, and anyone who hears an admin's token can use it", c.Issuer), "https://, or --insecure-plaintext where the network can be trusted")
	}
	ca := c.CAFile
	if f.caFile != "" {
		ca = f.caFile
	}
	o := zitadel.SignInOptions{Issuer: c.Issuer, CAFile: ca, KeyFile: f.keyFile, TokenFile: f.tokenFile, Now: s.Now, Prompt: func(p deviceflow.Prompt) { prompt(s, p) }}
	if f.keyFile == "" && f.tokenFile == "" {
		o.ClientID = c.ClientID
	}
	session, err := zitadel.SignIn(ctx, o)
	if err != nil {
		try := "the same command once the provider answers, and --issuer, where that is not its address"
		var no *openid.Refusal
		if errors.As(err, &no) {
			try = "another account by --admin-key-file FILE or --client-id ID; it needs the role ORG_USER_MANAGER in the devices' organization"
		}
		return nil, cli.Failed(err, try)
	}
	client, err := zitadel.New(zitadel.Options{Issuer: c.Issuer, Organization: f.organization, Tokens: session, CAFile: ca, Now: s.Now})
	if err != nil {
		return nil, cli.Failed(err, "--issuer, --provider-ca-file")
	}
	return client, nil
}

// prompt tells a person how to approve the sign-in. It is no part of the answer.
func prompt(s cli.Streams, p deviceflow.Prompt) {
	page := p.Complete
	if page == "" {
		page = p.URI
	}
	s.Warn("To enrol, sign in at the provider as an account that manages the devices' users.\nOpen %s in a browser, and check that it shows the code %s.\nWaiting until %s. Ctrl-C ends.\n",
		page, p.UserCode, p.Expires.Local().Format(time.TimeOnly))
}

// users is the provider as an enrolment needs it.
type users struct{ client *zitadel.Client }

var _ enroll.Provider = users{}

var standings = map[zitadel.Standing]enroll.UserStanding{
	zitadel.None: enroll.UserNone, zitadel.Ours: enroll.UserOurs, zitadel.NotMachine: enroll.UserPerson, zitadel.OtherOrganization: enroll.UserOthers,
}

func (p users) LookUp(ctx context.Context, id string) (enroll.User, error) {
	u, err := p.client.LookUp(ctx, id)
	if err != nil {
		return enroll.User{}, err
	}
	found := enroll.User{Standing: standings[u.Standing], Active: u.State == zitadel.Active, JWT: u.JWT}
	if u.Standing != zitadel.Ours {
		return found, nil
	}
	keys, err := p.client.Keys(ctx, id)
	for _, k := range keys {
		found.Keys = append(found.Keys, enroll.UserKey{ID: k.ID, Expires: k.Expires})
	}
	return found, err
}

func (p users) EnsureDevice(ctx context.Context, id, description string) error {
	_, err := p.client.EnsureDevice(ctx, zitadel.Device{ID: id, Description: description})
	return err
}

func (p users) AddKey(ctx context.Context, id string, publicPEM []byte, expires time.Time) (string, error) {
	return p.client.AddKey(ctx, id, publicPEM, expires)
}

func (p users) RemoveKey(ctx context.Context, id, key string) error {
	return p.client.RemoveKey(ctx, id, key)
}

func (p users) Deactivate(ctx context.Context, id string) error { return p.client.Deactivate(ctx, id) }

func (p users) Delete(ctx context.Context, id string) error { return p.client.Delete(ctx, id) }
