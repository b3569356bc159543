package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/deploy/enroll/rotate"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/fleetctl/resource"
)

// rotateFlags are the flags of enroll rotate.
type rotateFlags struct {
	selector   string
	all, force bool
	parallel   int
	output     string
}

// maxParallel bounds how many devices are asked at once: the provider limits rates.
const maxParallel = 200

// newEnrollRotate makes the command. provider signs in at the provider, once for all
// devices.
func newEnrollRotate(s cli.Streams, c *query.Connection, provider func(context.Context) (rotate.Provider, error)) *cobra.Command {
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
years, give or take a random quarter.

Broken off at any step, run it again: it goes on. A device whose key is less than a
day old is left alone, but for --force. A device must be connected, and have been
enrolled with a key. What fails on one device holds up no other.

Exits with 1 where a device failed.`,
		Example: `  fleetctl enroll rotate edge-03
  fleetctl enroll rotate -l site=lab
  fleetctl enroll rotate --all --parallel 50 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return enrollRotate(cmd.Context(), s, c, f, args, provider)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			names, directive := completion{c}.device(cmd, nil, toComplete)
			return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), directive
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "devices whose labels match, such as site=lab,gpu")
	flags.BoolVar(&f.all, "all", false, "all devices of the fleet")
	flags.BoolVar(&f.force, "force", false, "devices whose key is less than a day old, too")
	flags.IntVar(&f.parallel, "parallel", 20, "how many devices at once")
	bindOutput(cmd, &f.output)
	completeNoFiles(cmd)
	return cmd
}

// check reads the flags and arguments.
func (f rotateFlags) check(s cli.Streams, args []string) (q resource.Query, err error) {
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
		id, err := deviceArg(arg)
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
	return q, checkTextOrJSON(f.output)
}

func enrollRotate(ctx context.Context, s cli.Streams, c *query.Connection, f rotateFlags, args []string, provider func(context.Context) (rotate.Provider, error)) error {
	q, err := f.check(s, args)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	v, err := viewAt(ctx, s, c, nc, js, query.Moment{})
	if err != nil {
		return err
	}
	catalog := resource.NewCatalog(v, s.Now())
	found, unknown := q.Find(catalog)
	if err := notFound(s, q, catalog, unknown, false); err != nil {
		return err
	}
	var ids []string
	for _, item := range found {
		ids = append(ids, item.Key.Name)
	}
	if len(ids) == 0 {
		return cli.Failed(errors.New("no device matches"), s.Program()+" get devices")
	}
	keys, err := provider(ctx)
	if err != nil {
		return err
	}
	r, err := rotate.New(rotate.Options{Provider: keys, Bus: rotate.NATS{Conn: nc}, Now: s.Now, Random: rand.Float64, Force: f.force})
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
	return reportRotated(ctx, s, f, results)
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
func reportRotated(ctx context.Context, s cli.Streams, f rotateFlags, results []rotate.Result) error {
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
	if f.output == render.OutputJSON {
		if _, err := render.Document(s, f.output, map[string]any{"devices": all, "failed": counts[rotate.Failed]}); err != nil {
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
