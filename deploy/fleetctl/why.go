package fleetctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/projections/attention"

	"fleet.nationtech.io/operator/resource"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// unknownLogins is how far back refused logins of nobody are told.
const unknownLogins = 24 * time.Hour

func newWhy(s cli.Streams, c *query.Connection) *cobra.Command {
	var output string
	var most int
	cmd := &cobra.Command{
		Use:   "why DEVICE",
		Short: "Show why a device gets in, or why not",
		Long: `Show why a device gets in, or why not: what the auth callout recorded of its logins,
newest first, each reason in plain words with what to do; whether its access is
revoked; whether it belongs to the fleet; and when its key ends.

A token that proves nobody, such as one of another provider, is recorded under no
device. Those of the last 24 h are shown below, as they may be this device's.`,
		Example: "  fleetctl device why edge-03\n  fleetctl device why edge-03 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := resource.DeviceArg(args[0])
			if err != nil {
				return cli.Misused(err, s.Program()+" device why edge-03")
			}
			if err := complete.CheckTextOrJSON(output); err != nil {
				return err
			}
			return why(cmd.Context(), s, c, device, most, output)
		},
		ValidArgsFunction: completion{c}.device,
	}
	cmd.Flags().IntVarP(&most, "tail", "n", 20, "how many logins to show")
	complete.BindOutput(cmd, &output)
	return cmd
}

func why(ctx context.Context, s cli.Streams, c *query.Connection, device string, most int, output string) error {
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	permitted, stop := c.Permitted(ctx)
	defer stop()
	l, err := query.ReadLogins(permitted, js, device, s.Now().Add(-unknownLogins))
	if err != nil {
		return c.Explain(err, nc)
	}
	report := reportLogins(s, device, l)
	if output == render.OutputJSON {
		_, err := render.Document(s, output, report)
		return err
	}
	report.Text(s, max(1, most))
	return nil
}

// reportLogins says in plain words what the log has.
func reportLogins(s cli.Streams, device string, l query.Logins) render.Logins {
	r := render.Logins{Device: device, Logins: []render.Login{}, Unknown: unknownByReason(l.Unknown), Fleet: "a device of the fleet", Access: "allowed"}
	for _, one := range l.Own {
		remedy := refusal.Reason(one.Reason).Remedy()
		if one.Granted {
			remedy = refusal.Remedy{}
		}
		r.Logins = append(r.Logins, render.Login{
			Sequence: one.Sequence, Time: one.Time, Granted: one.Granted, Count: max(1, one.Count), Reason: one.Reason,
			Means: remedy.Means, Do: remedy.Do, Message: one.Message, Account: one.Account, KeyID: one.KeyID,
		})
	}
	switch d := l.Device; {
	case d == nil:
		r.Fleet = "the log knows no such device: it never reported, or its name is another"
	case d.Decommissioned:
		r.Fleet = fmt.Sprintf("decommissioned (event %d): what it reports is ignored until %s device allow %s", l.Left, s.Program(), device)
	case d.Leaving != nil:
		r.Fleet = fmt.Sprintf("about to be decommissioned (event %d)", l.Requested)
	case d.RegisteredAt.IsZero():
		r.Fleet = "not registered yet: the operator registers it with its first report"
	}
	if a := l.Access; a != nil {
		what := "allowed again"
		if a.Revoked {
			what = "revoked"
		}
		r.Access = fmt.Sprintf("%s at %s by %s (event %d)", what, a.Time.Local().Format(render.TimeLayout), cmp.Or(a.Actor, "an unknown actor"), a.Sequence)
		if reason := cmp.Or(a.Message, a.Reason); reason != "" {
			r.Access += ": " + reason
		}
	}
	r.KeyExpires = attention.KeyExpires(l.Device)
	if !r.KeyExpires.IsZero() {
		r.Key = "it ends at " + r.KeyExpires.Local().Format(render.TimeLayout)
	}
	if reason := attention.KeyReason(r.KeyExpires, s.Now()); reason != "" {
		r.Key = attention.KeySentence(device, reason, r.KeyExpires)
	}
	r.Verdict, r.Do = loginVerdict(s, device, l, r)
	return r
}

// loginVerdict says of the newest recorded login whether and why the device got in.
func loginVerdict(s cli.Streams, device string, l query.Logins, r render.Logins) (text, do string) {
	if l.Access != nil && l.Access.Revoked {
		return "its access is revoked, and every login of it is refused", s.Program() + " device allow " + device + ", if that is right"
	}
	if expired := attention.KeyReason(r.KeyExpires, s.Now()) == attention.ReasonExpired; expired && (len(r.Logins) == 0 || r.Logins[0].Time.Before(r.KeyExpires)) {
		// It gets no token any more, so that there is no login which could be refused.
		return fmt.Sprintf("its key ended at %s, and the provider gives it no token for it", r.KeyExpires.Local().Format(render.TimeLayout)),
			fmt.Sprintf("enrol it again; or, while %[1]s ping %[2]s has an answer, %[1]s enroll rotate --unproven %[2]s", s.Program(), device)
	}
	if len(r.Logins) == 0 {
		text = "the callout recorded no login of it"
		if len(r.Unknown) > 0 {
			return text + "; the refused ones below may be its", ""
		}
		return text, "is its agent running, and does it reach NATS? Its log says so. A device with a password is not judged by the callout"
	}
	newest := r.Logins[0]
	at := newest.Time.Local().Format(render.TimeLayout)
	if newest.Granted {
		return fmt.Sprintf("it was let in at %s, into account %s", at, newest.Account), "whether it is there now: " + s.Program() + " ping " + device
	}
	text = fmt.Sprintf("it was refused at %s (%s, %s): %s", at, newest.Reason, render.Plural(uint64(newest.Count), "time", "times"), cmp.Or(newest.Means, newest.Message))
	return text, newest.Do
}

// unknownByReason counts refused logins of nobody, the most frequent first.
func unknownByReason(all []query.Login) []render.UnknownLogins {
	out := []render.UnknownLogins{}
	for _, one := range all {
		i := slices.IndexFunc(out, func(u render.UnknownLogins) bool { return u.Reason == one.Reason })
		if i < 0 {
			remedy := refusal.Reason(one.Reason).Remedy()
			i = len(out)
			out = append(out, render.UnknownLogins{Reason: one.Reason, Last: one.Time, Means: cmp.Or(remedy.Means, one.Message), Do: remedy.Do})
		}
		out[i].Count += max(1, one.Count)
	}
	slices.SortStableFunc(out, func(a, b render.UnknownLogins) int { return cmp.Compare(b.Count, a.Count) })
	return out
}
