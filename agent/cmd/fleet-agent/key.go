package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/keyfile"
)

func newKey() *cobra.Command {
	return group("key", "Make, adopt or show the key by which this device gets its tokens", newKeyCreate(), newKeyAdopt(), newKeyShow())
}

// bindKeyFile gives a command the flag --key-file.
func bindKeyFile(cmd *cobra.Command) *string {
	path := cmd.Flags().String("key-file", config.DefaultKeyFile, "the key `file`")
	must(cmd.MarkFlagFilename("key-file", "json"))
	return path
}

func newKeyCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a key pair on this device and print its public half",
		Long: `Make an RSA key pair on this device and print its public half as PEM.

The private half waits beside the key file, readable for its owner alone, until
fleet-agent key adopt gives it its id. A pair that waits already is used again.`,
		Example: "  fleet-agent key create",
		Args:    cobra.NoArgs,
	}
	path := bindKeyFile(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		public, err := keyfile.At(*path).Create()
		if err != nil {
			return exit{exitError, err}
		}
		_, err = cmd.OutOrStdout().Write(public)
		return err
	}
	return cmd
}

func newKeyAdopt() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adopt --key-id ID --user-id ID --expires TIME",
		Short: "Put the key that waits into the key file's place",
		Long: `Put the key that fleet-agent key create made into the key file's place, with what the
provider said of its public half. The file is replaced at once or not at all; a running
agent uses the new key within seconds. Run again, it is a success.`,
		Example: "  fleet-agent key adopt --key-id 301234567890123456 --user-id pi-01 --expires 2028-11-28T00:00:00Z",
		Args:    cobra.NoArgs,
	}
	path := bindKeyFile(cmd)
	flags := cmd.Flags()
	var a keyfile.Adoption
	var expires string
	flags.StringVar(&a.KeyID, "key-id", "", "the `id` that the provider gave the public half")
	flags.StringVar(&a.UserID, "user-id", "", "the `id` of the device's machine user at the provider")
	flags.StringVar(&expires, "expires", "", "when the provider lets the key end, as 2028-11-28T00:00:00Z (RFC 3339)")
	for _, name := range []string{"key-id", "user-id", "expires"} {
		must(cmd.MarkFlagRequired(name))
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		var err error
		if a.Expires, err = time.Parse(time.RFC3339, expires); err != nil {
			return fmt.Errorf("--expires %q is no time: write it as 2028-11-28T00:00:00Z", expires)
		}
		if err := keyfile.At(*path).Adopt(a); err != nil {
			return exit{exitError, err}
		}
		return nil
	}
	return cmd
}

func newKeyShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show which key this device has, and no secret",
		Long: `Show as JSON which key this device has, of which user, when it ends, and whether
another one waits for its id. The private key is not shown. Exits with 3 where there is
no key file; pending is told then, too.`,
		Example: "  fleet-agent key show",
		Args:    cobra.NoArgs,
	}
	path := bindKeyFile(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := keyfile.At(*path).Show()
		if err != nil && !errors.Is(err, keyfile.ErrNone) {
			return exit{exitError, err}
		}
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(s); err != nil {
			return exit{exitError, err}
		}
		if err != nil {
			return exit{exitNone, err}
		}
		return nil
	}
	return cmd
}
