package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

func newConfig() *cobra.Command {
	return group("config", "Look at this device's configuration", newCheck())
}

func newCheck() *cobra.Command {
	path := config.DefaultPath
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the configuration",
		Long: `Say what is wrong with the configuration and with the files that it names, one
sentence a line, and exit with 78; or with 0 where nothing is. It connects to nothing.
What is worth knowing and not wrong goes to standard error, such as a key that is not
there yet: the agent waits for it.`,
		Example: "  fleet-agent config check\n  fleet-agent config check --config ./config.toml",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&path, "config", config.DefaultPath, "the configuration `file`")
	must(cmd.MarkFlagFilename("config", "toml"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f := check(path, time.Now())
		for _, note := range f.notes {
			fmt.Fprintln(cmd.ErrOrStderr(), note)
		}
		for _, sentence := range f.wrong {
			fmt.Fprintln(cmd.OutOrStdout(), sentence)
		}
		if len(f.wrong) > 0 {
			return exit{exitConfig, fmt.Errorf("%s is wrong: correct it, then run fleet-agent config check again", path)}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n", path)
		return nil
	}
	return cmd
}

// findings are sentences about a configuration.
type findings struct {
	wrong []string // the agent cannot work with it
	notes []string // worth knowing
}

func (f *findings) add(what string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		f.wrong = append(f.wrong, what+": "+strings.TrimSuffix(line, "\n"))
	}
}

// check looks at a configuration and the files that it names.
func check(path string, now time.Time) findings {
	var f findings
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("the file is not there: enrol this device, or write it")
	}
	if err != nil {
		f.add(path, err)
		return f
	}
	c, err := config.Parse(text)
	if err != nil {
		f.add(path, err)
		return f
	}
	for _, ca := range []struct{ key, file string }{{"nats", c.NATS.CAFile}, {"auth", c.Auth.CAFile}} {
		_, err := trust.New(&trust.Clock{}, ca.file)
		f.add(path+": "+ca.key, err)
	}
	if c.Auth.Mode == config.ModeZitadelJWT {
		f.key(path, c, now)
	}
	return f
}

func (f *findings) key(path string, c config.Config, now time.Time) {
	k, err := openid.ReadKey(c.Auth.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.notes = append(f.notes, "The key "+c.Auth.KeyFile+" is not there yet: the agent waits for it.")
	case err != nil:
		f.add(path+": auth.key_file", err)
	case !k.Ends.IsZero() && !now.Before(k.Ends):
		f.notes = append(f.notes, fmt.Sprintf("The key %s ended at %s: the provider gives no token for it any more. Enrol this device again.", c.Auth.KeyFile, k.Ends.UTC().Format(time.RFC3339)))
	case k.UserID != c.DeviceID:
		f.notes = append(f.notes, fmt.Sprintf("The key %s is of user %.80q, and device_id is %q: NATS lets the device in only where its token names the device otherwise.", c.Auth.KeyFile, k.UserID, c.DeviceID))
	}
}
