package enroll

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/enroll/machine"
)

// exitConfig is the agent's exit code for a wrong configuration (EX_CONFIG).
const exitConfig = "78"

// service enables and starts the agent. It does not wait: join does, and says why.
func (w *work) service(ctx context.Context) (string, error) {
	verb := "restart"
	if w.facts.Service["ActiveState"] == "active" && !restarts(w.facts, w.plan) {
		verb = "start"
	}
	r, err := w.run(ctx, verb+" the agent", `set -e
systemctl daemon-reload
printf '@@%s\n' "$(systemctl show -p InvocationID "$1")"
systemctl enable "$1" >/dev/null 2>&1 || systemctl enable "$1"
systemctl reset-failed "$1" 2>/dev/null || :
systemctl --no-block `+verb+` "$1"
rm -f "$2"`, unitName, restartOwed)
	if _, was, found := strings.Cut(string(r.Stdout), "@@"); found && verb == "restart" {
		w.before = properties(was)["InvocationID"]
	}
	return "", err
}

const (
	joinInterval = time.Second
	// settleTime is how long an agent must be up where nobody asks the fleet.
	settleTime = 5 * time.Second
)

// unitScript says how the agent is.
const unitScript = `systemctl show -p ActiveState -p SubState -p Result -p ExecMainStatus -p InvocationID "$1"`

// join waits until the device is in: the fleet knows it, and it answers.
func (w *work) join(ctx context.Context) (Step, error) {
	began := w.Now()
	bounded, cancel := context.WithTimeout(ctx, w.Wait)
	defer cancel()
	waits := "the agent did not start"
	for {
		s, done, err := w.look(bounded, began, &waits)
		switch {
		case ctx.Err() != nil:
			return Step{}, context.Cause(ctx)
		case bounded.Err() != nil:
			return Step{}, w.why(ctx, fmt.Errorf("%s is not in after %v: %s", w.Wish.ID, w.Wait, waits))
		case err != nil:
			return Step{}, err
		case done:
			return s, nil
		}
		select {
		case <-bounded.Done():
		case <-time.After(joinInterval):
		}
	}
}

// look looks once whether the device is in, and says what it waits for.
func (w *work) look(ctx context.Context, began time.Time, waits *string) (s Step, done bool, err error) {
	r, err := w.Machine.Run(ctx, machine.Command{Script: unitScript, Args: []string{unitName}})
	if err != nil {
		return s, false, err
	}
	is := properties(string(r.Stdout))
	if is["ActiveState"] == "failed" && is["ExecMainStatus"] == exitConfig {
		return s, false, w.why(ctx, fmt.Errorf("the agent says that its configuration is wrong"))
	}
	if is["ActiveState"] != "active" {
		*waits = fmt.Sprintf("the agent's unit is %s (%s)", is["ActiveState"], is["SubState"])
		if is["Result"] != "" && is["Result"] != "success" {
			*waits += ", result " + is["Result"] + ", exit code " + is["ExecMainStatus"]
		}
		return s, false, nil
	}
	invocation := is["InvocationID"]
	if w.before != "" && w.before == invocation {
		*waits = "systemd has not restarted the agent"
		return s, false, nil
	}
	if w.Fleet == nil {
		*waits = "the agent is active for less than " + settleTime.String()
		return Step{Name: StepJoin, State: Unknown, Detail: "the agent is active; the fleet was not asked"}, w.Now().Sub(began) >= settleTime, nil
	}
	pongs, err := w.Fleet.Ping(ctx, w.Wish.ID)
	ours := slices.IndexFunc(pongs, func(p Pong) bool { return p.Invocation == "" || invocation == "" || p.Invocation == invocation })
	switch {
	case err != nil:
		*waits = fmt.Sprintf("the fleet cannot be asked: %v", err)
		return s, false, nil
	case len(pongs) == 0:
		*waits = "its agent is active and does not answer a ping"
		return s, false, nil
	case ours < 0:
		*waits = "another machine answers under this id: switch it off"
		return s, false, nil
	}
	d, err := w.Fleet.Standing(ctx, w.Wish.ID)
	if err != nil || !d.Known {
		*waits = "it answers, and the operator has not registered it: is an operator running?"
		return s, false, nil //nolint:nilerr // the next look may be luckier
	}
	detail := fmt.Sprintf("%s is in the fleet and answers", w.Wish.ID)
	if v := pongs[ours].Version; v != "" {
		detail += " (agent " + v + ")"
	}
	return ok(StepJoin, "%s", detail), true, nil
}

const journalLines = 5

// why adds what the agent last said.
func (w *work) why(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	r, failed := w.Machine.Run(ctx, machine.Command{
		Script: `journalctl -u "$1" -n "$2" --no-pager -q -o cat 2>/dev/null | cut -c 1-400`,
		Args:   []string{unitName, fmt.Sprint(journalLines)},
	})
	said := strings.TrimSpace(strings.ToValidUTF8(string(r.Stdout), ""))
	if failed != nil || said == "" {
		return fmt.Errorf("%w; its journal has more: journalctl -u fleet-agent", err)
	}
	return fmt.Errorf("%w. The agent last said:\n%s", err, said)
}
