package fleetctl_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections"
)

func TestMain(m *testing.M) {
	run := func(name string, terminal bool) func() {
		return func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(fleetctl.Run(ctx, fleetctl.Streams{
				Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now, Name: name, Terminal: terminal,
			}, os.Args[1:]))
		}
	}
	testscript.Main(m, map[string]func(){
		"fleetctl": run("fleetctl", false), "kubectl-fleet": run("kubectl-fleet", false), "fleetctl-on-terminal": run("fleetctl", true),
	})
}

// Each script is a person's story, on a real server with a small fleet's log.
func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			url, err := smallFleet(t)
			env.Setenv("FLEET_NATS_URL", url)
			env.Setenv("FLEET_NATS_USER", "alice")
			env.Setenv("FLEET_NATS_PASSWORD", "p")
			env.Setenv("TZ", "UTC")
			return err
		},
	})
}

// smallFleet is a log with a story: hello on edge-01, an orphan, a foreign
// message; edge-01 answers pings, and an operator withdraws what it is asked to.
func smallFleet(t *testing.T) (string, error) {
	login := func(user string) accounts.Login { return accounts.Login{User: user, Password: "p"} }
	text, err := accounts.Render(accounts.Users{
		Operator: login("operator"), People: []accounts.Person{{Login: login("alice")}},
		Devices: []accounts.Device{{ID: "edge-01", Password: "p"}},
	}, accounts.RenderOptions{})
	if err != nil {
		return "", err
	}
	s := natstest.Start(t, natstest.Config(t, string(text)))
	ctx := t.Context()
	nc, js := s.Connect(t, nats.UserInfo("operator", "p"))
	if _, err := eventlog.EnsureLog(ctx, js, eventlog.LogConfig{}); err != nil {
		return "", err
	}
	if _, err := projections.Ensure(ctx, js, projections.Config{}); err != nil {
		return "", err
	}
	if err := tell(ctx, js); err != nil {
		return "", err
	}
	device, _ := s.Connect(t, nats.UserInfo(accounts.DeviceUser("edge-01"), "p"))
	if _, err := device.Subscribe(eventlog.DeviceCommandSubject("edge-01", eventlog.Wildcard), func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"device_id":"edge-01","agent_version":"v1.2.3"}`))
	}); err != nil {
		return "", err
	}
	if _, err := nc.Subscribe(eventlog.FamilySubjects(eventlog.FamilyRequest), func(m *nats.Msg) {
		a, err := eventlog.ParseSubject(m.Subject)
		if err == nil && a.Name == "lost" {
			_ = say(context.Background(), js, eventlog.DeploymentSubject(a.Namespace, a.Name), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "Requested"})
		}
	}); err != nil {
		return "", err
	}
	for _, c := range []*nats.Conn{nc, device} {
		if err := c.Flush(); err != nil {
			return "", err
		}
	}
	return s.URL(), nil
}

func tell(ctx context.Context, js jetstream.JetStream) error {
	score := json.RawMessage(`{"data":{"services":[{"image":"nginx:1","name":"web"}]},"type":"PodmanV0"}`)
	applied := func(uid string) eventlog.Deployment {
		return eventlog.Deployment{UID: uid, Generation: 1, Revision: 1, Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, Score: score, ScoreHash: eventlog.Hash(score)}
	}
	for _, step := range []struct {
		subject string
		kind    eventlog.Type
		payload any
	}{
		{eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "op-1", ClusterUID: "u", Version: "v1"}},
		{eventlog.DeploymentSubject("default", "hello"), eventlog.DeploymentApplied, applied("1")},
		{eventlog.DesiredSubject("edge-01", "hello"), eventlog.DesiredAssigned, score},
		{eventlog.DeploymentSubject("default", "lost"), eventlog.DeploymentApplied, applied("2")},
		{eventlog.DeploymentSubject("default", "lost"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "ResourceGone"}},
		{eventlog.DeploymentSubject("default", "unheard"), eventlog.DeploymentApplied, applied("3")},
		{eventlog.DeploymentSubject("default", "unheard"), eventlog.DeploymentOrphaned, eventlog.DeploymentEnd{Reason: "ResourceGone"}},
		{eventlog.DeviceSubject("edge-01"), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseHeard"}},
	} {
		if err := say(ctx, js, step.subject, step.kind, step.payload); err != nil {
			return err
		}
	}
	if _, err := js.Publish(ctx, eventlog.StateSubject("edge-01", "hello"),
		fmt.Appendf(nil, `{"device_id":"edge-01","deployment":"hello","phase":"Running","last_event_at":%q,"last_error":null,"revision":1}`, time.Now().UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	_, err := js.Publish(ctx, eventlog.StateSubject("edge-01", "hello"), []byte(`not JSON`))
	return err
}

func say(ctx context.Context, js jetstream.JetStream, subject string, kind eventlog.Type, payload any) error {
	d, err := eventlog.NewDraft(subject, kind, time.Now(), payload)
	if err != nil {
		return err
	}
	if kind == eventlog.DesiredAssigned {
		d.Namespace, d.Revision = "default", 1
	}
	_, err = eventlog.AppendUnfenced(ctx, js, "operator", d)
	return err
}
