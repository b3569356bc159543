package fleetctl

import (
	"io"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/clidoc"
	"fleet.nationtech.io/deploy/fleetctl/importing"
	"fleet.nationtech.io/deploy/fleetctl/query"
)

// newDocs is how docs/cli.md is made. It is no person's command, so help does not
// show it.
func newDocs(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use:    "docs",
		Short:  "Print the reference of all commands as Markdown",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// By its own name, and without this machine's environment.
			root := newRoot(cli.Streams{Name: "fleetctl", Getenv: func(string) string { return "" }, Now: s.Now})
			root.InitDefaultCompletionCmd()
			if _, err := io.WriteString(s.Out, clidoc.Markdown(root, guide())); err != nil {
				return cli.Failed(err, "")
			}
			return nil
		},
	}
}

// guide is what the reference says that no command does.
func guide() clidoc.Guide {
	return clidoc.Guide{
		Title: "fleetctl: the reference",
		Intro: "Made from the commands by `make generate`; `make verify` fails where it is not what they say.\n" +
			"Installed as `kubectl-fleet` it is `kubectl fleet`. Every error ends with what to try.",
		ExitCodes: []clidoc.ExitCode{
			{Code: cli.ExitOK, Meaning: "done; also where Ctrl-C ended what follows the log, and where nothing matched"},
			{Code: cli.ExitFailed, Meaning: "it was tried and did not work, or differs where that is asked; the message says what to try"},
			{Code: cli.ExitUsage, Meaning: "the command line cannot be understood"},
			{Code: cli.ExitNoAnswer, Meaning: "nobody answered", Of: []string{"ping"}},
			{Code: cli.ExitForeign, Meaning: "it is done, and there is something to look at: foreign messages were found, entries were refused, an older archive could not be removed", Of: []string{"verify", "import", "archive"}},
			{Code: cli.ExitInterrupted, Meaning: "Ctrl-C or SIGTERM came before the end"},
			{Code: cli.ExitCut, Meaning: "the reader of the output stopped, as in “| head”"},
		},
		Environment: []clidoc.Variable{
			{Name: query.EnvURL, Meaning: "NATS servers, where --url and --context are not given; fleet-dev writes these three into .fleet/env"},
			{Name: query.EnvUser, Meaning: "user on NATS, where --user is not given"},
			{Name: query.EnvPassword, Meaning: "its password, where --password is not given"},
			{Name: access.EnvCA, Meaning: "PEM file of the servers' CAs, where --ca-file is not given"},
			{Name: access.EnvContext, Meaning: "context, where neither --context nor " + query.EnvURL + " is given"},
			{Name: access.EnvIssuer, Meaning: "the OpenID provider, where no context has it"},
			{Name: access.EnvProject, Meaning: "id of the fleet's project there"},
			{Name: access.EnvClientID, Meaning: "client id of fleetctl's application there, for persons"},
			{Name: access.EnvKeyFile, Meaning: "key of a machine user, by which a service logs in, where --key-file is not given"},
			{Name: access.EnvPlaintext, Meaning: "set to anything: a token is shown over connections that are not encrypted, too"},
			{Name: "XDG_CONFIG_HOME", Meaning: "below it, in fleet/, are contexts and cached tokens, and in nats/ the contexts of the nats CLI; default: the user's configuration directory"},
			{Name: query.EnvSealKey, Meaning: "the public key that seals are checked with, where --public-key is not given"},
			{Name: importing.EnvSource, Meaning: "NATS servers of the fleet to import, where --nats is not given"},
			{Name: backup.EnvEndpoint, Meaning: "URL of the store of s3://…; " + backup.EnvRegion + ", " + backup.EnvAccessKey + ", " + backup.EnvSecretKey + ", " + backup.EnvFile + " and " + backup.EnvCA + " are read as by other tools for S3"},
			{Name: "NO_COLOR", Meaning: "no colours, where it is set to anything (no-color.org)"},
			{Name: "TERM", Meaning: "dumb: no colours, and replay prints lines"},
			{Name: "TZ", Meaning: "the zone of times that people read and type"},
		},
	}
}
