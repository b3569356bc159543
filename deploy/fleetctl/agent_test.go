package fleetctl_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
)

// asks has the ward's person run a command.
func (w *ward) asks(args ...string) (code int, out, errs string) {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	code = fleetctl.Run(w.t.Context(), cli.Streams{
		Out: &stdout, Err: &stderr, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return w.env[k] },
	}, args)
	return code, stdout.String(), stderr.String()
}

func TestAViewerSeesWhatAnAgentSaidOfItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead   time.Duration // of the device's clock
		figures *eventlog.AgentFigures
		says    []string
		not     string
	}{
		"an agent that is well": {
			0, &eventlog.AgentFigures{Run: 1, Observe: 35},
			[]string{"Version      v1.2.3", "Clock        agrees with the servers'", "Engine       answers", "35ms to list its containers", "0 events wait for the log", "none since the agent was started"},
			"KIND",
		},
		"an agent in trouble": {
			time.Hour, &eventlog.AgentFigures{Run: 1, EngineDown: true, Waiting: 1, Drifts: 3, RefusedTokens: 2},
			[]string{"is ahead of the servers' by", "does not answer", "1 event waits for the log", "Drift          3       a container was found otherwise", "RefusedToken   2       a server refused the agent's token"},
			"LiveGap",
		},
		"an agent before 0.2": {0, nil, []string{"none: an agent before 0.2 sends none"}, "Engine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t).furnish()
			w.pulse(c.ahead, c.figures)
			code, out, errs := w.asks("device", "agent", "edge-01")
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("exit code %d, and no line says %q:\n%s%s", code, want, out, errs)
				}
			}
			if code != cli.ExitOK || strings.Contains(out, c.not) {
				t.Errorf("exit code %d, and a line may say %q:\n%s%s", code, c.not, out, errs)
			}
			code, out, errs = w.asks("device", "agent", "edge-01", "-o", "json")
			var a render.Agent
			if err := json.Unmarshal([]byte(out), &a); err != nil || code != cli.ExitOK || (a.Figures == nil) != (c.figures == nil) || a.Version != "v1.2.3" {
				t.Errorf("exit code %d, %v:\n%s%s", code, err, out, errs)
			}
		})
	}
}

func TestAnAgentThatWasNeverHeardIsSaidToBe(t *testing.T) {
	t.Parallel()
	w := newWard(t).furnish()
	code, out, errs := w.asks("device", "agent", "edge-02")
	if code != cli.ExitFailed || !strings.Contains(errs, "device edge-02: the servers hold no pulse of it") || !strings.Contains(errs, "fleetctl device why edge-02") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}
}
