package fleetctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/attention"
)

// wardOf is a ward whose servers have a user in their own account.
func wardOf(t *testing.T, start func(*testing.T, string) *ward) *ward {
	t.Helper()
	text, err := accounts.Render(accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "p"},
		System:   accounts.Login{User: "system", Password: "p"},
		People:   []accounts.Person{{Login: accounts.Login{User: "victor", Password: "p"}, Level: callout.Viewer}, {Login: accounts.Login{User: "ada", Password: "p"}, Level: callout.Admin}},
	}, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, string(text))
	w.t, w.env = t, map[string]string{"FLEET_NATS_URL": w.server.URL(), "FLEET_NATS_USER": "system", "FLEET_NATS_PASSWORD": "p"}
	_, w.js = w.server.Connect(t, nats.UserInfo("operator", "p"))
	return w
}

// says expects a line of a check.
func (e examined) says(t *testing.T, check string, status doctor.Status, text string) {
	t.Helper()
	if !slices.ContainsFunc(e.Findings, func(f doctor.Finding) bool {
		return f.Check == check && f.Status == status && strings.Contains(f.Message, text)
	}) {
		t.Errorf("no line of %s is %s and says %q: %+v", check, status, text, e.Findings)
	}
}

func TestTheDoctorAsksEachServerInTheServersOwnAccount(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sync   string
		code   int
		status doctor.Status
		says   string
	}{
		"it writes each message through": {"sync_interval: always", cli.ExitOK, doctor.OK, "which has the least room, may store 512 MiB and has "},
		"it writes at intervals":         {`sync_interval: "10s"`, cli.ExitFailed, doctor.Failed, "syncs its disk only every 10s, after messages were acknowledged, and the log has 1 replica: a power cut loses what was acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wardOf(t, func(t *testing.T, text string) *ward {
				return &ward{server: natstest.Start(t, natstest.Config(t, fmt.Sprintf("jetstream { max_file_store: 512Mi, store_dir: %q, %s }\n%s", t.TempDir(), tc.sync, text)))}
			}).furnish()
			got, code := runDoctor(t, 0, w.env)
			got.says(t, doctor.CheckStorage, tc.status, tc.says)
			got.says(t, doctor.CheckClocks, doctor.OK, "of 1 NATS server")
			got.says(t, doctor.CheckAccount, doctor.OK, "in the servers' own account")
			got.says(t, doctor.CheckLog, doctor.LeftOut, "the servers' own account has no event log")
			if code != tc.code {
				t.Errorf("exit code %d, want %d: %+v", code, tc.code, got.Findings)
			}
		})
	}
}

func TestTheDoctorAsksTheClockOfEachServerOfACluster(t *testing.T) {
	t.Parallel()
	w := wardOf(t, func(t *testing.T, text string) *ward {
		return &ward{server: natstest.Cluster(t, 3, natstest.Config(t, text))}
	})
	natstest.Settle(t, func(ctx context.Context) error {
		_, err := w.js.CreateStream(ctx, jetstream.StreamConfig{Name: "ELSEWHERE", Subjects: []string{"elsewhere"}, Replicas: 3})
		return err
	})
	got, _ := runDoctor(t, 0, w.env)
	got.says(t, doctor.CheckClocks, doctor.OK, "of 3 NATS servers")
	got.says(t, doctor.CheckStorage, doctor.Warning, "a power cut of all servers at once loses what was acknowledged")
	w.furnish()
	for _, user := range []string{"victor", "ada"} {
		w.env["FLEET_NATS_USER"] = user
		got, _ = runDoctor(t, 0, w.env)
		got.says(t, doctor.CheckClocks, doctor.OK, "NATS server")
		got.says(t, doctor.CheckStorage, doctor.LeftOut, fmt.Sprintf("user %q may not ask the servers", user))
	}
}

// A stream of the fleet that was given a limit is near it.
func TestTheDoctorFindsAStreamThatIsNearItsLimit(t *testing.T) {
	t.Parallel()
	w := newWard(t).furnish()
	for i := range 50 {
		if _, err := w.js.Publish(t.Context(), eventlog.PulseSubject(fmt.Sprintf("edge-%03d", i)), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	w.changes(eventlog.PulseStream, func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 52_500, jetstream.DiscardNew })
	got, _ := runDoctor(t, 0, w.env)
	got.says(t, doctor.CheckStorage, doctor.Failed, "stream PULSE has ")
}

// fleetctl top asks an operator how far it is as somebody who may, and nobody else.
func TestTheTopAsksAnOperatorHowFarItIsWhereTheUserMay(t *testing.T) {
	t.Parallel()
	w := wardOf(t, func(t *testing.T, text string) *ward {
		return &ward{server: natstest.Start(t, natstest.Config(t, text))}
	}).furnish()
	asked := make(chan *nats.Msg, 10) // which has a question before the flush after it ends
	if _, err := w.js.Conn().ChanSubscribe(eventlog.SyncSubject(eventlog.Wildcard), asked); err != nil {
		t.Fatal(err)
	}
	if err := w.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{"victor": 0, "ada": 1, "operator": 1} {
		w.env["FLEET_NATS_USER"] = user
		if code := w.run("top", "-o", "json"); code != cli.ExitOK {
			t.Errorf("as %s: exit code %d", user, code)
		}
		if err := w.js.Conn().FlushTimeout(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		if len(asked) != want {
			t.Errorf("%s asked %d times, want %d", user, len(asked), want)
		}
		for range len(asked) {
			<-asked
		}
	}
}

// run has the ward's user run a command.
func (w *ward) run(args ...string) int {
	w.t.Helper()
	code, _ := w.output(args...)
	return code
}

// output is what a command of the ward's user writes.
func (w *ward) output(args ...string) (int, string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code := fleetctl.Run(w.t.Context(), cli.Streams{Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return w.env[k] }}, args)
	w.t.Logf("fleetctl %v: %s%s", args, &out, &errs)
	return code, out.String()
}

// The doctor asks an operator how far it has folded the log, in the way in which devices ask.
func TestTheDoctorAsksAnOperatorHowFarItIs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(m *nats.Msg, id string)
		says   string // in a warning; empty: there is none
	}{
		"an operator that has folded the log is well": {func(m *nats.Msg, id string) {
			m.Header.Set(eventlog.HeaderSyncEnd, "true")
			m.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: id, LogSequence: 1 << 40})
		}, ""},
		"an operator that lacks what came just now is well": {func(m *nats.Msg, id string) {
			m.Header.Set(eventlog.HeaderSyncEnd, "true")
			m.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: id, LogSequence: 1})
		}, ""},
		"an operator that folds the log still is told": {func(m *nats.Msg, _ string) {
			m.Header.Set(eventlog.HeaderSyncError, eventlog.SyncNotReady)
		}, "does not answer devices that ask for their desired state: NotReady"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t).furnishWithoutOperator()
			w.env["FLEET_NATS_USER"] = "operator"
			asked := make(chan struct{}, 10)
			s, err := w.js.Stream(t.Context(), eventlog.LogStream)
			if err != nil {
				t.Fatal(err)
			}
			w.operates(func(m *nats.Msg) {
				tc.answer(m, logstream.IDOf(s.CachedInfo().Config))
				asked <- struct{}{}
			})
			got, _ := runDoctor(t, 0, w.env)
			select {
			case <-asked:
			case <-time.After(time.Minute):
				t.Fatal("the doctor asks no operator")
			}
			i := slices.IndexFunc(got.Findings, func(f doctor.Finding) bool { return f.Check == doctor.CheckOperator && f.Status == doctor.Warning })
			if (i >= 0) != (tc.says != "") || i >= 0 && !strings.Contains(got.Findings[i].Message, tc.says) {
				t.Errorf("want a warning that says %q: %+v", tc.says, got.Findings)
			}
		})
	}
}

// All operators of a fleet may be gone: who may ask them learns it. A viewer may not.
func TestTheDoctorSaysThatNoOperatorAnswers(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]struct {
		status doctor.Status
		says   string
	}{
		"victor":   {doctor.LeftOut, `the servers refuse the question to user "victor"`},
		"operator": {doctor.Failed, "no operator answers"},
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			w := newWard(t).furnishWithoutOperator()
			w.env["FLEET_NATS_USER"] = user
			got, code := runDoctor(t, 0, w.env)
			if !slices.ContainsFunc(got.Findings, func(f doctor.Finding) bool {
				return f.Check == doctor.CheckOperator && f.Status == want.status && strings.Contains(f.Message, want.says)
			}) {
				t.Errorf("no line %s says %q: %+v", want.status, want.says, got.Findings)
			}
			if failed := want.status == doctor.Failed; got.Healthy == failed || (code != cli.ExitOK) != failed {
				t.Errorf("healthy is %t, and the exit code %d", got.Healthy, code)
			}
			if want.status == doctor.LeftOut {
				got.isWell(t, user)
			}
			var top struct{ Items []attention.Item }
			if _, out := w.output("top", "-o", "json"); json.Unmarshal([]byte(out), &top) != nil {
				t.Fatalf("top writes %q", out)
			}
			if silent := slices.ContainsFunc(top.Items, func(i attention.Item) bool { return i.Kind == attention.OperatorSilent }); silent != (want.status == doctor.Failed) {
				t.Errorf("top says %+v", top.Items)
			}
		})
	}
}
