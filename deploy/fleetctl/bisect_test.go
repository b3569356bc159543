package fleetctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
)

// A change among 100,000 events, of which the others are of the same kinds, is found in
// at most 20 looks, with the chain from the apply to the report.
func TestAPlantedChangeAmongAHundredThousandEventsIsFoundInTwentySteps(t *testing.T) {
	t.Parallel()
	const events = 100_000
	server := natstest.Start(t)
	_, js := server.Connect(t)
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	async, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	planted := 1_000 + rand.New(rand.NewPCG(seed, 0)).IntN(events-2_000)
	t.Logf("the change is event %d, of seed %d", planted, seed)
	id := func(n int) string { return fmt.Sprintf("E-%d", n) }
	said := func(n int, subject string, kind eventlog.Type, cause int, payload any) *nats.Msg {
		d, err := eventlog.NewDraft(subject, kind, time.Now(), payload)
		if err != nil {
			t.Fatal(err)
		}
		if cause > 0 {
			d.CausationID = id(cause)
		}
		return d.Message("test", id(n))
	}
	score := json.RawMessage(`{"data":{"services":[{"image":"app:1","name":"web"}]},"type":"PodmanV0"}`)
	message := func(n int) *nats.Msg {
		device := fmt.Sprintf("pi-%02d", n%50)
		report := eventlog.DeploymentState{DeviceID: device, Deployment: "web", Phase: eventlog.PhaseRunning, ScoreHash: eventlog.Hash(score), Revision: 1, LastEventAt: time.Now()}
		switch {
		case n == 1:
			return said(n, eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, 0, eventlog.Deployment{
				UID: "u", Generation: 1, Revision: 1, Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, Score: score, ScoreHash: eventlog.Hash(score),
			})
		case n == 2:
			return said(n, eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStarted, 1, eventlog.Rollout{Revision: 1, Kind: eventlog.RunImmediate, Strategy: "Immediate", Devices: 50})
		case n <= 52:
			return eventlog.Draft{
				Subject: eventlog.DesiredSubject(fmt.Sprintf("pi-%02d", n-3), "web"), Type: eventlog.DesiredAssigned, Time: time.Now(),
				Namespace: "shop", Revision: 1, Data: score, CausationID: id(2),
			}.Message("test", id(n))
		case n <= 102:
			return said(n, eventlog.DeviceSubject(fmt.Sprintf("pi-%02d", n-53)), eventlog.DeviceRelabeled, 0, eventlog.Labels{
				Labels: map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}},
			})
		case n == planted:
			why := "no such tag"
			report.DeviceID, report.Phase, report.Reason, report.LastError, report.Assignment = "pi-07", eventlog.PhaseFailed, "ImageNotFound", &why, 10
			return said(n, eventlog.StateSubject("pi-07", "web"), eventlog.StateReported, 0, report)
		case n > planted && n%50 == 7: // it goes on failing, silently
			return said(n, eventlog.DeviceSubject(device), eventlog.DeviceOnline, 0, eventlog.Presence{Reason: "PulseReceived"})
		}
		return said(n, eventlog.StateSubject(device, "web"), eventlog.StateReported, 0, report)
	}
	for n := 1; n <= events; n++ {
		if _, err := async.PublishMsgAsync(message(n), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-async.PublishAsyncComplete()

	for _, args := range [][]string{
		{`deployments["shop/web"].status.aggregate.failed > 0`},
		{`devices["pi-07"].status.onDevice.exists(d, d.?reason.orValue("") == "ImageNotFound")`},
	} {
		var out, errs bytes.Buffer
		s := cli.Streams{Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(name string) string {
			return map[string]string{"FLEET_NATS_URL": server.URL()}[name]
		}}
		if code := fleetctl.Run(context.Background(), s, append([]string{"bisect", "--good", "102"}, args...)); code != 0 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		var got struct {
			Yes    uint64
			Exact  bool
			Steps  []struct{ Sequence uint64 }
			Causes []struct{ ID string }
			Event  struct{ ID string }
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Yes != uint64(planted) || !got.Exact || got.Event.ID != id(planted) {
			t.Errorf("%s: event %d (%s) was found, and %d was planted", args, got.Yes, got.Event.ID, planted)
		}
		if len(got.Steps) > 20 {
			t.Errorf("%s: %d steps", args, len(got.Steps))
		}
		if want := fmt.Sprint([]struct{ ID string }{{id(1)}, {id(2)}, {id(10)}}); fmt.Sprint(got.Causes) != want {
			t.Errorf("%s: the causes are %v, and not %v", args, got.Causes, want)
		}
	}
}
