package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// One second is enough for a put to be refused: where nobody listens the server
// says so at once, where permissions forbid it no answer comes.
func TestNoIdentityPutsDesiredState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(assigned(old, "web"))
	for name, user := range map[string]string{
		"the operator": "operator", "a developer": dev, "an older agent": accounts.LegacyUser(old),
	} {
		t.Run(name, func(t *testing.T) {
			_, js := w.as(user)
			kv := w.bucket(js, "desired-state")
			for _, key := range []string{old + ".web", old + ".other", "other.web"} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, put := kv.Put(ctx, key, []byte(`{}`))
				del := kv.Delete(ctx, key)
				purge := kv.Purge(ctx, key)
				cancel()
				if put == nil || del == nil || purge == nil {
					t.Errorf("%s: put %v, delete %v, purge %v: want each refused", key, put, del, purge)
				}
			}
		})
	}
	if got := w.subjects("KV_desired-state"); len(got) != 1 || got["$KV.desired-state."+old+".web"] != 1 {
		t.Errorf("bucket holds %v", got)
	}
	e, err := w.bucket(w.js, "desired-state").Get(soon(t), old+".web")
	if err != nil || string(e.Value()) != `{"data":{"services":[]},"type":"PodmanV0"}` {
		t.Errorf("the value is %v, %v", e, err)
	}
}

// An older agent by plain KV calls alone: bind, watch, put, get, delete.
func TestAnOlderAgentNeedsTheKVAPIAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const many = 3000 // more than one window of flow control
	drafts := make([]eventlog.Draft, many)
	for i := range drafts {
		drafts[i] = assigned(old, fmt.Sprintf("app-%d", i))
	}
	w.lead(drafts)
	w.append(assigned(victim, "web"))
	eventually(t, "the bucket has all", func() bool { return len(w.subjects("KV_desired-state")) == many+1 })

	var v violations
	_, js := w.as(accounts.LegacyUser(old), v.option())
	ctx := soon(t)
	watch, err := w.bucket(js, "desired-state").Watch(ctx, old+".>")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Stop() }()
	seen := map[string]bool{}
	for e := range watch.Updates() {
		if e == nil {
			break
		}
		seen[e.Key()] = true
	}
	if len(seen) != many || seen[victim+".web"] {
		t.Errorf("the watch gave %d keys, want %d, and none of another device", len(seen), many)
	}
	w.append(assigned(old, "late"))
	if e := next(t, watch); e.Key() != old+".late" || e.Operation() != jetstream.KeyValuePut {
		t.Errorf("then it gave %s %s", e.Operation(), e.Key())
	}
	w.append(eventlog.Draft{Subject: eventlog.DesiredSubject(old, "late"), Type: eventlog.DesiredWithdrawn, Time: time.Now()})
	if e := next(t, watch); e.Key() != old+".late" || e.Operation() != jetstream.KeyValueDelete {
		t.Errorf("then it gave %s %s, want the delete marker", e.Operation(), e.Key())
	}
	if _, err := w.bucket(js, "desired-state").Get(ctx, old+".app-7"); err != nil {
		t.Errorf("get of its own desired state: %v", err)
	}

	puts := []struct{ bucket, key, value, subject string }{
		{"device-state", "state.old-01.web", `{"device_id":"old-01","deployment":"web","phase":"Running"}`, "fleet.evt.state.old-01.web"},
		{"device-info", "info.old-01", `{"device_id":"old-01"}`, "fleet.evt.info.old-01"},
		{"device-heartbeat", "heartbeat.old-01", `{"device_id":"old-01"}`, "fleet.pulse.old-01"},
	}
	for _, p := range puts {
		kv := w.bucket(js, p.bucket)
		if _, err := kv.Put(ctx, p.key, []byte(p.value)); err != nil {
			t.Fatalf("put %s: %v", p.key, err)
		}
		eventually(t, p.key+" is in the bucket", func() bool {
			e, err := kv.Get(ctx, p.key)
			return err == nil && string(e.Value()) == p.value
		})
	}
	var events []string
	for e, err := range reader.Read(ctx, w.js, reader.Options{Subjects: []string{"fleet.evt.state.>", "fleet.evt.info.>"}}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, string(e.Type)+" "+e.Address.Device)
	}
	if diff := cmp.Diff([]string{"state.reported old-01", "info.reported old-01"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	kv := w.bucket(js, "device-state")
	if err := kv.Delete(ctx, "state.old-01.web"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	eventually(t, "the delete marker is in the bucket", func() bool {
		_, err := kv.Get(ctx, "state.old-01.web")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	if err := watch.Stop(); err != nil {
		t.Errorf("stop watching: %v", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.all) != 0 {
		t.Errorf("the server refused it something: %v", v.all)
	}
}

func next(t *testing.T, w jetstream.KeyWatcher) jetstream.KeyValueEntry {
	t.Helper()
	select {
	case e := <-w.Updates():
		return e
	case <-time.After(timeout):
		t.Fatalf("the watch gave nothing for %s", timeout)
		return nil
	}
}

func TestAnOlderAgentSpeaksForItselfAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(assigned(victim, "web"))
	_, js := w.as(accounts.LegacyUser(old))
	short := func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }
	attempts := map[string]func(context.Context) error{
		"watch another's desired state": func(ctx context.Context) error {
			_, err := w.bucket(js, "desired-state").Watch(ctx, victim+".>")
			return err
		},
		"watch all": func(ctx context.Context) error {
			_, err := w.bucket(js, "desired-state").WatchAll(ctx)
			return err
		},
		"get another's desired state": func(ctx context.Context) error {
			_, err := w.bucket(js, "desired-state").Get(ctx, victim+".web")
			return err
		},
		"put another's state": func(ctx context.Context) error {
			_, err := w.bucket(js, "device-state").Put(ctx, "state.victim.web", []byte(`{}`))
			return err
		},
		"append a desired event": func(ctx context.Context) error {
			_, err := js.Publish(ctx, "fleet.evt.desired.old-01.web", nil)
			return err
		},
		"follow the log": func(ctx context.Context) error {
			_, err := js.OrderedConsumer(ctx, "FLEET", jetstream.OrderedConsumerConfig{})
			return err
		},
		"delete a bucket": func(ctx context.Context) error { return js.DeleteStream(ctx, "KV_device-state") },
	}
	for name, attempt := range attempts {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := short()
			defer cancel()
			if err := attempt(ctx); err == nil {
				t.Error("it could")
			}
		})
	}
}

func TestAnybodyInTheAccountReadsTheBuckets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(assigned(victim, "web"))
	device := w.device(victim)
	for subject, data := range map[string]string{
		"fleet.evt.state.victim.web": `{"device_id":"victim"}`, "fleet.evt.info.victim": `{}`, "fleet.pulse.victim": `{}`,
	} {
		if _, err := device.Request(subject, []byte(data), timeout); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{
		"desired-state": {"victim.web"}, "device-state": {"state.victim.web"},
		"device-info": {"info.victim"}, "device-heartbeat": {"heartbeat.victim"},
	}
	_, js := w.as(dev)
	for bucket, keys := range want {
		eventually(t, bucket+" holds "+keys[0], func() bool {
			lister, err := w.bucket(js, bucket).ListKeys(soon(t))
			if err != nil {
				return false
			}
			got := []string{}
			for k := range lister.Keys() {
				got = append(got, k)
			}
			return slices.Equal(got, keys)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, js = w.as(alice)
	if _, err := js.Publish(ctx, "fleet.evt.state.victim.web", []byte(`{}`), jetstream.WithRetryAttempts(0)); err == nil {
		t.Error("a person could report for a device")
	} else if errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("refused for the wrong reason: %v", err)
	}
}
