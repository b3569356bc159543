package fleetctl_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

func TestMain(m *testing.M) {
	run := func(name string, terminal bool) func() {
		return func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			onTerminal := term.IsTerminal(int(os.Stdout.Fd()))
			os.Exit(fleetctl.Run(ctx, cli.Streams{
				Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now, Name: name,
				Terminal: terminal || onTerminal, ErrTerminal: terminal, Color: onTerminal && os.Getenv("NO_COLOR") == "",
			}, os.Args[1:]))
		}
	}
	testscript.Main(m, map[string]func(){
		"fleetctl": run("fleetctl", false), "kubectl-fleet": run("kubectl-fleet", false), "fleetctl-on-terminal": run("fleetctl", true),
		"kubectl_complete-fleet": run("kubectl_complete-fleet", false),
	})
}

// Each script is a person's story, on a real server with a small fleet's log.
// Beside testscript's own commands there are:
//
//	story NAME         append what stories has of that name to the log
//	seal [forged]      append a seal over the log, by the fleet's key ($KEY) or by $OTHER_KEY
//	server stop|start  end the NATS server, or start it again with what it had
//	lose STREAM…       remove streams; "all" removes all there are
//	store              start an S3-compatible store with the bucket backups
//	original           start a server with a fleet of the original design, at $OLD
//	await FILE REGEXP  wait until a file that is being written has a match
func TestStories(t *testing.T) {
	t.Parallel()
	p := scripts(t, "alice")
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// What reads does so for a viewer too, who may do nothing else.
func TestStoriesOfAViewer(t *testing.T) {
	t.Parallel()
	p := scripts(t, "victor")
	for _, name := range []string{"get", "watch", "log", "history", "explain", "diff", "bisect", "top", "replay", "verify", "prove", "completion", "rollout", "trace"} {
		p.Files = append(p.Files, filepath.Join("testdata", "script", name+".txtar"))
	}
	testscript.Run(t, p)
}

// scripts is how scripts run, as a user of account PEOPLE.
func scripts(t *testing.T, user string) testscript.Params {
	t.Helper()
	return testscript.Params{
		Setup: func(env *testscript.Env) error {
			w, err := smallFleet(t)
			if err != nil {
				return err
			}
			env.Values["world"] = w
			env.Setenv("FLEET_NATS_URL", w.server.URL())
			env.Setenv("FLEET_NATS_USER", user)
			env.Setenv("FLEET_NATS_PASSWORD", "p")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("KEY", publicKey(sealKey(1)))
			env.Setenv("OTHER_KEY", publicKey(sealKey(2)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"seal": sealCommand,
			"store": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 0 {
					ts.Fatalf("usage: store")
				}
				url, err := fakeStore(t)
				ts.Check(err)
				ts.Setenv("AWS_ENDPOINT_URL_S3", url)
			},
			"original": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 0 {
					ts.Fatalf("usage: original")
				}
				url, err := originalFleet(t)
				ts.Check(err)
				ts.Setenv("OLD", url)
			},
			"story": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 || stories()[args[0]] == nil {
					ts.Fatalf("usage: story NAME")
				}
				w := ts.Value("world").(*world)
				ts.Check(w.say(stories()[args[0]]...))
			},
			"lose": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) == 0 {
					ts.Fatalf("usage: lose STREAM… | all")
				}
				ts.Check(ts.Value("world").(*world).lose(args))
			},
			"await": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: await FILE REGEXP")
				}
				ts.Check(await(ts.MkAbs(args[0]), regexp.MustCompile("(?m)"+args[1])))
			},
			"server": func(ts *testscript.TestScript, neg bool, args []string) {
				w := ts.Value("world").(*world)
				switch {
				case !neg && len(args) == 1 && args[0] == "stop":
					w.server.Stop()
				case !neg && len(args) == 1 && args[0] == "start":
					w.server.Start()
					ts.Check(w.reachable())
				default:
					ts.Fatalf("usage: server stop|start")
				}
			},
		},
	}
}

// reachable waits until the stories can be told again.
func (w *world) reachable() error {
	const timeout, pause, once = time.Minute, 10 * time.Millisecond, 5 * time.Second
	for end := time.Now().Add(timeout); ; time.Sleep(pause) {
		ctx, cancel := context.WithTimeout(context.Background(), once)
		_, err := logstream.Inspect(ctx, w.js)
		cancel()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// lose removes streams.
func (w *world) lose(streams []string) error {
	ctx := context.Background()
	if streams[0] == "all" {
		streams = nil
		for name := range w.js.StreamNames(ctx).Name() {
			streams = append(streams, name)
		}
	}
	for _, name := range streams {
		if err := w.js.DeleteStream(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// await polls a file until it has a match.
func await(file string, pattern *regexp.Regexp) error {
	const timeout, pause = time.Minute, 10 * time.Millisecond
	for end := time.Now().Add(timeout); ; time.Sleep(pause) {
		b, err := os.ReadFile(file)
		switch {
		case err == nil && pattern.Match(b):
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s has no match for %s after %v: %w\n%s", file, pattern, timeout, err, b)
		}
	}
}

// world is what a script's commands and its stories work on.
type world struct {
	server *natstest.Server
	js     jetstream.JetStream // the operator's
}

// smallFleet is a log with a story: hello on edge-01, an orphan, a foreign
// message; edge-01 answers pings, mute-01 hears and does not, and an operator withdraws and
// decommissions what it is asked to, but for mute-01, and revokes and allows access.
func smallFleet(t *testing.T) (*world, error) {
	login := func(user string) accounts.Login { return accounts.Login{User: user, Password: "p"} }
	text, err := accounts.Render(accounts.Users{
		Operator: login("operator"),
		People: []accounts.Person{
			{Login: login("alice"), Level: callout.Operator}, {Login: login("victor"), Level: callout.Viewer}, {Login: login("dev"), Developer: true},
		},
		Devices: []accounts.Device{{ID: "edge-01", Password: "p"}, {ID: "mute-01", Password: "p"}},
		Legacy:  []accounts.Device{{ID: "old-01", Password: "p"}},
	}, accounts.RenderOptions{})
	if err != nil {
		return nil, err
	}
	s := natstest.Start(t, natstest.Config(t, string(text)))
	ctx := t.Context()
	nc, js := s.Connect(t, nats.UserInfo("operator", "p"))
	if _, err := logstream.Ensure(ctx, js, logstream.Config{}); err != nil {
		return nil, err
	}
	if _, err := buckets.Ensure(ctx, js, buckets.Config{}); err != nil {
		return nil, err
	}
	w := &world{server: s, js: js}
	if err := w.say(beginning()...); err != nil {
		return nil, err
	}
	device, _ := s.Connect(t, nats.UserInfo(accounts.DeviceUser("edge-01"), "p"))
	if _, err := device.Subscribe(eventlog.DeviceCommandSubject("edge-01", eventlog.Wildcard), func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"device_id":"edge-01","agent_version":"v1.2.3"}`))
	}); err != nil {
		return nil, err
	}
	if _, err := nc.Subscribe(eventlog.FamilySubjects(eventlog.FamilyRequest), func(m *nats.Msg) {
		a, err := eventlog.ParseSubject(m.Subject)
		if err == nil && a.Name == "lost" {
			_ = w.say(told{eventlog.DeploymentSubject(a.Namespace, a.Name), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "Requested"}})
		}
		var asked eventlog.Request
		if err == nil && a.Name == hello.Name && json.Unmarshal(m.Data, &asked) == nil {
			w.answerRollout(m, asked)
			return
		}
		if err != nil || a.Device == "" || json.Unmarshal(m.Data, &asked) != nil {
			return
		}
		switch cause := m.Header.Get(eventlog.HeaderID); {
		case a.Device == "mute-02": // the operator does not hear of it
		case asked.Verb == eventlog.RequestRevoke:
			_ = w.say(accessChanged(a.Device, eventlog.AccessRevoked, asked, a.User, cause))
		case asked.Verb == eventlog.RequestAllow:
			_ = w.say(accessChanged(a.Device, eventlog.AccessAllowed, asked, a.User, cause))
		case a.Device != "mute-01":
			_ = w.say(decommissioned(a.Device, a.User, cause)...)
		}
	}); err != nil {
		return nil, err
	}
	mute, _ := s.Connect(t, nats.UserInfo(accounts.DeviceUser("mute-01"), "p"))
	if _, err := mute.SubscribeSync(eventlog.DeviceCommandSubject("mute-01", eventlog.Wildcard)); err != nil {
		return nil, err
	}
	for _, c := range []*nats.Conn{nc, device, mute} {
		if err := c.Flush(); err != nil {
			return nil, err
		}
	}
	return w, nil
}
