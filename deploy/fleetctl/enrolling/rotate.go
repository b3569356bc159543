package enrolling

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/enroll/rotate"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/operator/resource"
)

// rotateFlags are the flags of enroll rotate.
type rotateFlags struct {
	selector   string
	provider   ProviderFlags
	all, force bool
	unproven   bool
	parallel   int
	output     string
}

// maxParallel bounds how many devices are asked at once: the provider limits rates.
const maxParallel = 200

// Devices are those of the fleet, as the log has them.
type Devices struct {
	Complete cobra.CompletionFunc // an argument
	// Find gives the ids of those that a query asks for; what is not there is an error.
	Find func(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, q resource.Query) ([]string, error)
}

func newRotate(s cli.Streams, b *access.Settings, c *query.Connection, devices Devices) *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate [DEVICE…] | -l SELECTOR | --all",
		Short: "Give devices new keys, and remove their former ones",
		Long: `Give devices new keys, and remove their former ones.

Each device is asked over NATS: it makes a pair whose private half never leaves it;
the provider takes the public half beside the present key; the device gets a token
with the new key, and only then uses it instead of the former one, which is removed
at the provider. Where the device gets no token within a minute, it keeps its key.
After it, the device's key is the only key of its machine user. A key ends after two
years, give or take a random quarter. You sign in once, as for fleetctl enroll.

Each answer of a device has a proof by the key that it has, which the provider
verifies: anyone who holds a token of the device can answer in its place, and gets no
key. A device whose key has ended has no proof: enrol it again, or use --unproven where
you know that nobody else has its token.

Broken off at any step, run it again: it goes on. A device whose key is less than a
day old is left alone, but for --force. A device must be connected, and have been
enrolled with a key; you must be an admin. What fails on one device holds up no other.

Exits with 1 where a device failed.`,
		Example: `  fleetctl enroll rotate edge-03
  fleetctl enroll rotate -l site=lab
  fleetctl enroll rotate --all --parallel 50 -o json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return enrollRotate(cmd.Context(), s, b, c, devices, &f, args)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			names, directive := devices.Complete(cmd, nil, toComplete)
			return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), directive
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "devices whose labels match, such as site=lab,gpu")
	flags.BoolVar(&f.all, "all", false, "all devices of the fleet")
	flags.BoolVar(&f.force, "force", false, "devices whose key is less than a day old, too")
	flags.BoolVar(&f.unproven, "unproven", false, "trust answers without a proof, as of devices whose key has ended")
	flags.IntVar(&f.parallel, "parallel", 20, "how many devices at once")
	f.provider.Bind(cmd)
	complete.BindOutput(cmd, &f.output)
	complete.NoFiles(cmd)
	return cmd
}

// check reads the flags and arguments.
func (f *rotateFlags) check(s cli.Streams, args []string) (q resource.Query, err error) {
	ways := 0
	for _, given := range []bool{len(args) > 0, f.selector != "", f.all} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return q, cli.Misused(errors.New("which devices? Give their ids, or -l SELECTOR, or --all"), s.Program()+" enroll rotate edge-03")
	case ways > 1:
		return q, cli.Misused(errors.New("ids, -l and --all exclude each other"), s.Program()+" enroll rotate -l site=lab")
	case f.parallel < 1 || f.parallel > maxParallel:
		return q, cli.Misused(fmt.Errorf("--parallel %d must be 1 to %d", f.parallel, maxParallel), "--parallel 20")
	}
	words := []string{"devices"}
	for _, arg := range args {
		id, err := resource.DeviceArg(arg)
		if err != nil {
			return q, cli.Misused(err, s.Program()+" enroll rotate edge-03")
		}
		words = append(words, id)
	}
	if q.Targets, err = resource.ParseTargets(words); err != nil {
		return q, cli.Misused(err, s.Program()+" enroll rotate edge-03")
	}
	if f.selector != "" {
		if q.Selector, err = labels.Parse(f.selector); err != nil {
			return q, cli.Misused(fmt.Errorf("-l %q: %w", f.selector, err), "-l site=lab")
		}
	}
	return q, complete.CheckTextOrJSON(f.output)
}

func enrollRotate(ctx context.Context, s cli.Streams, b *access.Settings, c *query.Connection, devices Devices, f *rotateFlags, args []string) error {
	q, err := f.check(s, args)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	ids, err := devices.Find(ctx, nc, js, q)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return cli.Failed(errors.New("no device matches"), s.Program()+" get devices")
	}
	chosen, err := b.Chosen()
	if err != nil {
		return err
	}
	client, err := f.provider.Client(ctx, s, f.provider.Complete(chosen))
	if err != nil {
		return err
	}
	issuer, err := issuerOf(client)
	if err != nil {
		return cli.Failed(err, "--ca-file FILE, the CA of the servers and of the provider")
	}
	r, err := rotate.New(rotate.Options{
		Provider: userKeys{client}, Issuer: issuer, Bus: rotate.NATS{Conn: nc}, Now: s.Now, Random: rand.Float64, Force: f.force, Unproven: f.unproven,
	})
	if err != nil {
		return err
	}
	p := render.NewProgress(s, "replacing keys")
	n := 0
	results := r.Many(ctx, ids, f.parallel, func(one rotate.Result) {
		n++
		if f.output == render.OutputText {
			p.End()
			s.Tell("%s\n", rotatedLine(one))
		}
		p.Report(uint64(n), uint64(len(ids)))
	})
	p.End()
	return reportRotated(ctx, s, f.output, results)
}

// userKeys are the devices' keys at the provider.
type userKeys struct{ *zitadel.Client }

var _ rotate.Provider = userKeys{}

// Keys implements rotate.Provider.
func (u userKeys) Keys(ctx context.Context, userID string) ([]rotate.Key, error) {
	keys, err := u.Client.Keys(ctx, userID)
	all := make([]rotate.Key, 0, len(keys))
	for _, k := range keys {
		all = append(all, rotate.Key{ID: k.ID, Created: k.Created})
	}
	return all, err
}

// issuerOf is the provider of a client, which verifies what devices sign.
func issuerOf(client *zitadel.Client) (rotate.Issuer, error) {
	clock := &trust.Clock{}
	servers, err := trust.Beside(clock, client.CAFile)
	if err != nil {
		return nil, err
	}
	return rotate.NewAssertions(func() *openid.Provider {
		return openid.New(openid.Options{Issuer: client.Issuer, Clock: clock, Servers: servers})
	}), nil
}

// rotatedLine says what came of a device.
func rotatedLine(r rotate.Result) string {
	key := fmt.Sprintf("key %s, which ends at %s", render.Printable(r.KeyID), r.Expires.UTC().Format(time.RFC3339))
	switch r.Outcome {
	case rotate.Rotated:
		return fmt.Sprintf("%s: it has its new %s", r.Device, key)
	case rotate.Finished:
		return fmt.Sprintf("%s: it had its new %s; removed now: %s", r.Device, key, strings.Join(r.Removed, ", "))
	case rotate.Recent:
		return fmt.Sprintf("%s: it got its %s, less than a day ago, and keeps it (--force replaces it)", r.Device, key)
	}
	return fmt.Sprintf("%s: failed: %s", r.Device, render.Printable(fmt.Sprint(r.Err)))
}

// rotated is what came of a device, for a program.
type rotated struct {
	Device  string         `json:"device"`
	Outcome rotate.Outcome `json:"outcome"`
	KeyID   string         `json:"key_id,omitempty"`
	Expires time.Time      `json:"expires,omitzero"`
	Removed []string       `json:"removed,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// reportRotated writes the summary, and fails where a device failed.
func reportRotated(ctx context.Context, s cli.Streams, output string, results []rotate.Result) error {
	counts := map[rotate.Outcome]int{}
	all := []rotated{}
	for _, r := range results {
		counts[r.Outcome]++
		one := rotated{Device: r.Device, Outcome: r.Outcome, KeyID: r.KeyID, Expires: r.Expires, Removed: r.Removed}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		all = append(all, one)
	}
	if output == render.OutputJSON {
		if _, err := render.Document(s, output, map[string]any{"devices": all, "failed": counts[rotate.Failed]}); err != nil {
			return err
		}
	} else if len(results) > 1 {
		s.Tell("%s: %d with a new key, %d finished, %d with a key of today, %d failed\n", render.Plural(uint64(len(results)), "device", "devices"),
			counts[rotate.Rotated], counts[rotate.Finished], counts[rotate.Recent], counts[rotate.Failed])
	}
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("the same command again: it goes on")
	case counts[rotate.Failed] > 0:
		return cli.ExitCode(cli.ExitFailed)
	}
	return nil
}
