//go:build e2e

package recovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
)

// The names below are the contract's, so they stand as literals.

func (f *fleet) bucket(name string) jetstream.KeyValue {
	f.t.Helper()
	return f.bind(f.js, name)
}

func (f *fleet) bind(js jetstream.JetStream, bucket string) jetstream.KeyValue {
	f.t.Helper()
	kv, err := js.KeyValue(f.t.Context(), bucket)
	if err != nil {
		f.t.Fatalf("bind bucket %s: %v", bucket, err)
	}
	return kv
}

// older connects as an older agent that fleet-dev was told to admit.
func (f *fleet) older(id string) jetstream.JetStream {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, "passwords.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	passwords := map[string]string{}
	if err := json.Unmarshal(b, &passwords); err != nil {
		f.t.Fatal(err)
	}
	user := accounts.LegacyUser(id)
	nc, err := nats.Connect(f.env["FLEET_NATS_URL"], nats.UserInfo(user, passwords[user]), nats.Timeout(atOnce))
	if err != nil {
		f.t.Fatalf("connect as %s: %v", user, err)
	}
	f.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		f.t.Fatal(err)
	}
	return js
}

// Any client reads the four buckets by the ordinary KV API, with the contract's
// keys, and nobody puts desired state.
func TestTheBucketsAreTheContracts(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "one"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	devices := []string{"edge-01", "edge-02", "edge-03"}
	want := map[string][]string{}
	for _, d := range devices {
		want["desired-state"] = append(want["desired-state"], d+".hello")
		want["device-state"] = append(want["device-state"], "state."+d+".hello")
		want["device-info"] = append(want["device-info"], "info."+d)
		want["device-heartbeat"] = append(want["device-heartbeat"], "heartbeat."+d)
	}
	for bucket, keys := range want {
		lister, err := f.bucket(bucket).ListKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for k := range lister.Keys() {
			got = append(got, k)
		}
		slices.Sort(got)
		if diff := cmp.Diff(keys, got); diff != "" {
			t.Errorf("keys of %s (-want +got):\n%s", bucket, diff)
		}
	}
	desired, err := f.bucket("desired-state").Get(t.Context(), "edge-01.hello")
	if err != nil {
		t.Fatal(err)
	}
	state, err := f.bucket("device-state").Get(t.Context(), "state.edge-01.hello")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		DeviceID  string `json:"device_id"`
		Phase     string `json:"phase"`
		ScoreHash string `json:"score_hash"`
		Revision  uint64 `json:"revision"`
	}
	if err := json.Unmarshal(state.Value(), &s); err != nil {
		t.Fatal(err)
	}
	if s.DeviceID != "edge-01" || s.Phase != "Running" || s.ScoreHash != eventlog.Hash(desired.Value()) || s.Revision != 1 {
		t.Errorf("state %s does not answer desired value %s", state.Value(), desired.Value())
	}
	for _, attempt := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := f.bucket("desired-state").Put(ctx, "edge-01.hello", []byte(`{}`))
			return err
		},
		func(ctx context.Context) error {
			_, err := f.bucket("desired-state").Create(ctx, "edge-01.other", []byte(`{}`))
			return err
		},
		func(ctx context.Context) error { return f.bucket("desired-state").Delete(ctx, "edge-01.hello") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := attempt(ctx); err == nil {
			t.Error("desired-state could be written by a KV client")
		}
		cancel()
	}
	m.stop()
}

// An older agent by plain KV calls alone: it binds, watches and puts. What it
// puts is an event, in the buckets and in the status of the CR.
func TestAnOlderAgentByPlainKVCallsAlone(t *testing.T) {
	m := newMachine(t)
	f := m.up("--legacy", "old-01")
	old := f.older("old-01")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	put := func(bucket, key, value string) {
		t.Helper()
		if _, err := f.bind(old, bucket).Put(ctx, key, []byte(value)); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
	beat := func() {
		put("device-heartbeat", "heartbeat.old-01", fmt.Sprintf(`{"device_id":"old-01","at":%q}`, time.Now().UTC().Format(time.RFC3339)))
	}
	put("device-info", "info.old-01", `{"device_id":"old-01","labels":{"museum":"yes"},"inventory":{"hostname":"old","agent_version":"0.1"},"updated_at":"2026-01-01T00:00:00Z"}`)
	beat()
	f.eventually(timeout, func() error {
		beat()
		d, err := f.kube.FleetV1alpha1().Devices().Get(ctx, "old-01", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Labels["museum"] != "yes" {
			return fmt.Errorf("labels of the Device: %v", d.Labels)
		}
		return nil
	})
	watch, err := f.bind(old, "desired-state").Watch(ctx, "old-01.>")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Stop() }()
	if e := <-watch.Updates(); e != nil {
		t.Fatalf("a value before anything was desired: %s", e.Key())
	}
	if err := f.applyJSON("default", "exhibit", `{"matchLabels":{"museum":"yes"}}`, podmanScore("localhost/fleet-hello:1", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-watch.Updates():
		score, err := eventlog.DecodeScore(e.Value())
		if err != nil || e.Key() != "old-01.exhibit" || score.Type != "PodmanV0" {
			t.Fatalf("desired %s = %s (%v)", e.Key(), e.Value(), err)
		}
	case <-ctx.Done():
		t.Fatal("no desired state came")
	}
	// The original's state: without hash, revision or services.
	put("device-state", "state.old-01.exhibit", fmt.Sprintf(`{"device_id":"old-01","deployment":"exhibit","phase":"Failed","last_event_at":%q,"last_error":"no power"}`, time.Now().UTC().Format(time.RFC3339)))
	f.eventually(timeout, func() error {
		beat()
		d, err := f.kube.FleetV1alpha1().Deployments("default").Get(ctx, "exhibit", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if a := d.Status.Aggregate; a == nil || a.Failed != 1 || a.MatchedDeviceCount != 1 || a.LastError == nil || a.LastError.Device != "old-01" {
			return fmt.Errorf("status %s", asJSON(d.Status))
		}
		return nil
	})
	put("device-state", "state.old-01.exhibit", fmt.Sprintf(`{"device_id":"old-01","deployment":"exhibit","phase":"Running","last_event_at":%q,"last_error":null}`, time.Now().UTC().Format(time.RFC3339)))
	beat()
	f.says("default", "exhibit", "AllSucceeded", "1 device")

	if err := f.kube.FleetV1alpha1().Deployments("default").Delete(ctx, "exhibit", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-watch.Updates():
		if e.Operation() != jetstream.KeyValueDelete {
			t.Errorf("%s of %s, want the delete marker", e.Operation(), e.Key())
		}
	case <-ctx.Done():
		t.Fatal("no delete marker came")
	}
	if err := f.bind(old, "device-state").Delete(ctx, "state.old-01.exhibit"); err != nil {
		t.Fatal(err)
	}
	f.eventually(timeout, func() error { return f.noKeys("exhibit") })
	var types []eventlog.Type
	for e, err := range reader.Read(ctx, f.js, reader.Options{Subjects: []string{eventlog.StateSubject("old-01", "exhibit"), eventlog.InfoSubject("old-01")}}) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type)
	}
	if diff := cmp.Diff([]eventlog.Type{"info.reported", "state.reported", "state.reported", "state.cleared"}, types); diff != "" {
		t.Errorf("events of the older agent (-want +got):\n%s", diff)
	}
	m.stop()
}

// A hostile device aims the answers to its own questions at another device's
// agent. That agent does nothing of what they say, and goes on serving the fleet.
func TestAnAgentBelievesNothingThatIsAimedAtIt(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "one"); err != nil {
		t.Fatal(err)
	}
	bad, err := nats.Connect(f.env["FLEET_NATS_URL"], nats.UserInfo(f.env["FLEET_LAB_USER"], f.env["FLEET_LAB_PASSWORD"]), nats.CustomInboxPrefix("_INBOX.mallory"), nats.Timeout(atOnce))
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if _, err := bad.Request("fleet.evt.info.mallory", []byte(`{"device_id":"mallory","labels":{"site":"cellar"},"inventory":{},"updated_at":"2026-01-01T00:00:00Z"}`), atOnce); err != nil {
		t.Fatal(err)
	}
	// What is desired of the hostile device is what it would have others run, and
	// not run: "hello" too, so that its answers speak of what the victim has.
	if err := f.applyJSON("default", "evil", `{"matchLabels":{"site":"cellar"}}`, podmanScore("localhost/fleet-hello:2", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	f.eventually(timeout, func() error {
		_, err := f.bucket("desired-state").Get(t.Context(), "mallory.evil")
		return err
	})
	before := f.containers("hello")
	log := f.quiet("mallory")

	targets := []string{
		"fleet.live.desired.edge-01.hello", "fleet.live.desired.edge-01.evil",
		"device-commands.edge-01.exec", "device-commands.edge-01.ping", "device-commands.edge-01.sync",
		"_INBOX.edge-01.guess", "fleet.evt.state.edge-01.hello", "fleet.evt.desired.edge-01.hello", "$KV.desired-state.edge-01.hello",
	}
	own := map[string]uint64{}
	for round := range 20 {
		for _, target := range targets {
			for _, subject := range []string{"fleet.sync.mallory", "fleet.evt.state.mallory.evil", "fleet.evt.info.mallory", "fleet.pulse.mallory"} {
				msg := nats.NewMsg(subject)
				msg.Reply = target
				msg.Header.Set(eventlog.HeaderSync, fmt.Sprintf("nonce-%d", round))
				msg.Header.Set(eventlog.HeaderSubject, "$KV.desired-state.edge-01.evil")
				msg.Header.Set(eventlog.HeaderRequestInfo, `{"acc":"FLEET","user":"dev"}`)
				msg.Data = fmt.Appendf(nil, `{"nonce":"nonce-%d","device_id":"mallory","deployment":"evil","phase":"Running","labels":{"site":"cellar"}}`, round)
				if err := bad.PublishMsg(msg); err != nil {
					t.Fatal(err)
				}
				own[subject]++
			}
		}
	}
	if err := bad.Flush(); err != nil {
		t.Fatal(err)
	}
	// The hostile device's own reports are in the log; of the victim, nothing is new.
	f.eventually(timeout, func() error {
		n := uint64(0)
		for e, err := range reader.Read(t.Context(), f.js, reader.Options{From: log.Last + 1, Subjects: []string{eventlog.StateSubject("mallory", "evil")}}) {
			if err != nil && !errors.Is(err, eventlog.ErrForeign) { // they store a header of the server's, as a copy does
				return err
			}
			if e.Address.Device == "mallory" {
				n++
			}
		}
		if n != own["fleet.evt.state.mallory.evil"] {
			return fmt.Errorf("%d of its own reports are in the log, want %d", n, own["fleet.evt.state.mallory.evil"])
		}
		return nil
	})
	time.Sleep(3 * time.Second) // what an agent could still do to it has that long
	for e, err := range reader.Read(t.Context(), f.js, reader.Options{From: log.Last + 1}) {
		if err != nil && (!errors.Is(err, eventlog.ErrForeign) || e.Address.Device != "mallory") {
			t.Fatalf("the log has what cannot be decoded: %s at %d: %v", e.Subject, e.Sequence, err)
		}
		if e.Address.Device != "mallory" && ofADevice(e) {
			t.Errorf("event %d on %s: %s", e.Sequence, e.Subject, e.Type)
		}
	}
	m.untouched("hello", before)
	if evil := f.containers("evil"); len(evil) != 0 && m.engine == "podman" {
		t.Errorf("a device runs what is desired of another: %v", evil)
	}
	// It still serves its own fleet.
	if out, err := m.fleetctl(f, "ping", "edge-01"); err != nil {
		t.Errorf("fleetctl ping edge-01: %v: %s", err, out)
	}
	if err := f.apply("hello", "two"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	m.stop()
}

// ofADevice says whether an event changes what a device is to do, or is one that
// a device says. What the operator itself notices of a busy machine, such as a
// pulse that was late, is neither.
func ofADevice(e eventlog.Event) bool {
	return e.Address.Family.OfDevices() || e.Address.Family == eventlog.FamilyDesired || e.Address.Family == eventlog.FamilyCommand
}

// quiet waits until nothing has been said to or by a device, but one, for a while:
// reports go before the journal of the steps that they are of.
func (f *fleet) quiet(but string) logstream.Info {
	f.t.Helper()
	var log logstream.Info
	last, since := uint64(0), time.Now()
	f.eventually(timeout, func() error {
		var err error
		if log, err = logstream.Inspect(f.t.Context(), f.js); err != nil {
			return err
		}
		for e, err := range reader.Read(f.t.Context(), f.js, reader.Options{From: last + 1}) {
			if err != nil {
				return err
			}
			if last = e.Sequence; ofADevice(e) && e.Address.Device != but {
				since = time.Now()
			}
		}
		if time.Since(since) < 3*time.Second {
			return fmt.Errorf("something happens yet: the log is at %d", last)
		}
		return nil
	})
	return log
}
