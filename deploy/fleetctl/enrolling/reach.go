package enrolling

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// ReachFlags are how a device is reached.
type ReachFlags struct {
	identities          []string
	jump, config, known string
	acceptNew           bool
	timeout             time.Duration
	dialer              *machine.Dialer
	terminal            *Terminal
}

// Bind adds the flags.
func (f *ReachFlags) Bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.identities, "identity", "i", nil, "SSH: private key files, beside those of the agent and of ~/.ssh")
	flags.StringVarP(&f.jump, "jump", "J", "", "SSH: reach the device over these hosts, USER@HOST:PORT with commas between them")
	flags.StringVar(&f.config, "ssh-config", "", "SSH: configuration file; none reads none (default ~/.ssh/config and /etc/ssh/ssh_config)")
	flags.StringVar(&f.known, "known-hosts", "", "SSH: file of known hosts (default ~/.ssh/known_hosts)")
	flags.BoolVar(&f.acceptNew, "accept-new-host-keys", false, "SSH: trust a host that is not known yet, and remember its key")
	flags.DurationVar(&f.timeout, "connect-timeout", 15*time.Second, "SSH: how long a device may take to answer")
}

// Prepare reads the SSH configuration, once for all devices.
func (f *ReachFlags) Prepare(s cli.Streams, terminal *Terminal) error {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	name := s.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	o := machine.Options{
		ConfigFile: f.config, KnownHosts: f.known, AcceptNewHostKeys: f.acceptNew, AgentSocket: s.Getenv("SSH_AUTH_SOCK"),
		Home: home, User: name, Secrets: terminal, Say: func(text string) { s.Warn("%s\n", text) }, Timeout: f.timeout,
	}
	for _, i := range f.identities {
		whole, err := filepath.Abs(i)
		if err != nil {
			return cli.Misused(err, "--identity FILE")
		}
		o.Identities = append(o.Identities, whole)
	}
	f.terminal = terminal
	if f.dialer, err = machine.NewDialer(o); err != nil {
		return cli.Misused(err, "--ssh-config none")
	}
	return nil
}

// Local is how this machine itself is named on the command line.
const Local = "local"

// Open reaches a device by its name on the command line.
func (f *ReachFlags) Open(ctx context.Context, name string) (machine.Machine, error) {
	if name == Local {
		return machine.Local(f.terminal), nil
	}
	t, err := machine.ParseTarget(name)
	if err != nil {
		return nil, cli.Misused(err, "ssh://pi@10.0.0.5, or "+Local)
	}
	return f.Dial(ctx, t, "")
}

// Dial reaches a device over SSH. jump takes the place of the flag where it is given.
func (f *ReachFlags) Dial(ctx context.Context, t machine.Target, jump string) (machine.Machine, error) {
	if jump == "" {
		jump = f.jump
	}
	return f.dialer.Dial(ctx, t, jump)
}
