//go:build unix

package fleetctl_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/attention/attentiontest"
)

func TestTheTopOfAFleetIsLive(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	s := openTerminal(t, 90, 16, fleetEnv(w), "fleetctl", "top")
	s.until("2 warnings; 0 of 0 devices online; event 10", "WARNING", "default/lost is orphaned", "q quit")
	if err := w.say(stories()["rollout"]...); err != nil {
		t.Fatal(err)
	}
	s.until("event 31", "default/hello fails on edge-02", "scroll, q quit")
	s.press("G")
	s.until("NOTICE", "runs what the log does not know")
	s.resize(60, 6)
	s.until("scroll")
	s.press("g")
	s.until("lines 1 to")
	s.resize(90, 30)
	s.until("q quit", "NOTICE", "WARNING")
	s.press("q")
	if err := s.ended(); err != nil {
		t.Errorf("q ended it with %v", err)
	}
}

// While the servers are away, the screen says so, and that what it shows is of before.
func TestTheTopOfAFleetSaysThatItIsNotConnected(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	s := openTerminal(t, 140, 16, fleetEnv(w), "fleetctl", "top")
	s.until("2 warnings; 0 of 0 devices online; event 10", "q quit")
	w.server.Stop()
	s.until("not connected; at last 1 critical, 2 warnings; 0 of 0 devices online; event 10", "trying until it is back")
	w.server.Start()
	s.until("2 warnings; 0 of 0 devices online; event 10", "q quit")
	s.press("q")
	if err := s.ended(); err != nil {
		t.Errorf("q ended it with %v", err)
	}
}

// Where the log that is followed is gone, top ends and says so, with what to do.
func TestTheTopOfALogThatIsReplacedEndsWithAReason(t *testing.T) {
	t.Parallel()
	w := openFleet(t)
	s := openTerminal(t, 120, 16, fleetEnv(w), "fleetctl", "top")
	s.until("event 10", "q quit")
	if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	natstest.EnsureLog(t, w.js, 1)
	if err := s.ended(); err == nil {
		t.Error("it ended as if a person had ended it")
	}
	s.until("Error: ", "Try: run the same command again")
}

// Each command that an item names is one that there is, with flags that it has.
func TestTheCommandsThatHelpAreThere(t *testing.T) {
	t.Parallel()
	for name, story := range attentiontest.Stories() {
		_, _, items := story.Look(t)
		for _, i := range items {
			args, ok := strings.CutPrefix(i.Command, "fleetctl ")
			if !ok {
				continue
			}
			var out, errs bytes.Buffer
			s := cli.Streams{Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(string) string { return "" }}
			code := fleetctl.Run(t.Context(), s, append(strings.Fields(args), "--help"))
			words := strings.Fields(args)
			if usage := out.String(); code != 0 || !strings.Contains(usage, "\n  fleetctl "+words[0]) {
				t.Errorf("%s: %s: exit code %d\n%s%s", name, i.Command, code, usage, &errs)
			}
			// Without a server it goes as far as to ask for one: its arguments are right.
			out.Reset()
			errs.Reset()
			if fleetctl.Run(t.Context(), s, words); !strings.Contains(errs.String(), "no NATS server is given") && words[0] != "enroll" && words[0] != "rebuild" { // these ask a person first
				t.Errorf("%s: %s: %s", name, i.Command, &errs)
			}
		}
	}
}
