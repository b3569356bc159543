package identity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/enroll/rotate"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/zitadel"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

// Ten devices get new keys over the bus, in a run that is broken off and in one that
// goes on, while what they should run changes all the time and their tokens end. No
// report, no change and no ping is lost, and each device has one key in the end.
func TestTenDevicesGetNewKeysWhileWhatTheyRunChanges(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, devprovider.Options{TokenLifetime: tokenLife, Lag: 2 * time.Second})
	w.callout()
	if _, err := buckets.Ensure(t.Context(), w.js, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	natstest.AnswerSync(t, w.fleet, w.js)
	a := w.agents(10)
	k := w.keyManager()
	before := k.standing(a.ids)

	changes := w.change(a.ids)
	lost := w.pingAll(a.ids)
	ctx, breakOff := context.WithCancel(t.Context())
	done := 0
	k.rotator.Many(ctx, a.ids, 3, func(r rotate.Result) {
		if done++; done == 3 {
			breakOff()
		}
		t.Logf("the run that is broken off: %+v", r)
	})
	breakOff()
	outcomes := map[rotate.Outcome]int{}
	for _, r := range k.rotator.Many(t.Context(), a.ids, 5, func(r rotate.Result) { t.Logf("the run that goes on: %+v", r) }) {
		outcomes[r.Outcome]++
		if r.Err != nil || time.Until(r.Expires) < 600*24*time.Hour || time.Until(r.Expires) > 830*24*time.Hour {
			t.Errorf("result %+v", r)
		}
	}
	if outcomes[rotate.Recent]+outcomes[rotate.Finished] == 0 || outcomes[rotate.Rotated] == 0 {
		t.Errorf("outcomes %v: the second run did not go on where the first was broken off", outcomes)
	}
	for id, keys := range k.standing(a.ids) {
		if len(keys) != 1 || slices.Contains(before[id], keys[0]) {
			t.Errorf("%s: keys %q stand, and before %q", id, keys, before[id])
		}
	}
	if n := a.rolled(); n > 0 { // by tokens of the new keys
		t.Errorf("%d pings were lost after it", n)
	}
	if n := lost(); n > 0 {
		t.Errorf("%d pings were lost meanwhile", n)
	}
	last := changes()
	w.await("each device reports the last of what it should run", func() bool {
		reports := w.reports(a.ids)
		return !slices.ContainsFunc(a.ids, func(id string) bool { return reports[id].hash != last })
	})
	for id, r := range w.reports(a.ids) {
		if r.gaps != "" {
			t.Errorf("%s: %s", id, r.gaps)
		}
		if time.Until(r.keyExpires) < 600*24*time.Hour {
			t.Errorf("%s reports that its key ends at %s", id, r.keyExpires)
		}
	}
	k.byHand(a.ids[0], a.ids[1])
}

// byHand replaces keys by fleetctl's own command.
func (k *keyManager) byHand(ids ...string) {
	t := k.world.t
	t.Helper()
	run := func(args ...string) (code int, said string) {
		var out strings.Builder
		s := cli.Streams{Out: &out, Err: &out, Getenv: func(string) string { return "" }, Now: time.Now, Name: "fleetctl"}
		args = append(append([]string{"enroll", "rotate"}, args...), "--url", k.world.server.URL(), "--user", "operator", "--password", "o",
			"--issuer", k.world.provider.Issuer(), "--insecure-plaintext", "--organization", organization, "--admin-key-file", k.file)
		return fleetctl.Run(t.Context(), s, args), out.String()
	}
	if code, said := run(ids...); code != cli.ExitOK || strings.Count(said, "less than a day ago, and keeps it") != len(ids) || !strings.Contains(said, "2 devices: 0 with a new key") {
		t.Errorf("exit code %d: %s", code, said)
	}
	before := k.standing(ids)
	code, said := run(append(ids, "--force", "-o", "json")...)
	var answer struct {
		Failed  int
		Devices []struct {
			Device, Outcome string
			KeyID           string   `json:"key_id"`
			Removed         []string `json:"removed"`
		}
	}
	if err := json.Unmarshal([]byte(said), &answer); err != nil || code != cli.ExitOK || answer.Failed != 0 || len(answer.Devices) != len(ids) {
		t.Fatalf("exit code %d (%v): %s", code, err, said)
	}
	for _, d := range answer.Devices {
		if d.Outcome != string(rotate.Rotated) || !slices.Equal(d.Removed, before[d.Device]) || !slices.Equal(k.standing(ids)[d.Device], []string{d.KeyID}) {
			t.Errorf("answer %+v; before it %q, after it %q", d, before[d.Device], k.standing(ids)[d.Device])
		}
	}
	if code, said := run("pi-99"); code != cli.ExitFailed || !strings.Contains(said, `devices "pi-99" not found`) {
		t.Errorf("a device that is not there: exit code %d: %s", code, said)
	}
}

// keyManager is somebody who manages the devices' keys.
type keyManager struct {
	world   *world
	file    string // key of its account
	client  *zitadel.Client
	rotator *rotate.Rotator
}

// managed is the provider as a rotation needs it.
type managed struct{ *zitadel.Client }

func (m managed) Keys(ctx context.Context, user string) ([]rotate.Key, error) {
	keys, err := m.Client.Keys(ctx, user)
	all := make([]rotate.Key, 0, len(keys))
	for _, k := range keys {
		all = append(all, rotate.Key{ID: k.ID, Created: k.Created})
	}
	return all, err
}

func (w *world) keyManager() *keyManager {
	w.t.Helper()
	const account = "enroller"
	_, err := w.provider.AddUser(devprovider.User{ID: account, Organization: organization, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
	w.provider.AddAdministrator(account, organization, zitadel.UserManager)
	text, err := w.provider.AddKey(account, time.Now().AddDate(1, 0, 0))
	w.must(err)
	file := filepath.Join(w.t.TempDir(), "key.json")
	w.must(os.WriteFile(file, text, 0o600))
	var session *zitadel.Session
	w.await("the account's key is seen", func() bool {
		session, err = zitadel.SignIn(w.t.Context(), zitadel.SignInOptions{Issuer: w.provider.Issuer(), KeyFile: file})
		return err == nil
	})
	k := &keyManager{world: w, file: file}
	k.client, err = zitadel.New(zitadel.Options{Issuer: w.provider.Issuer(), Organization: organization, Tokens: session})
	w.must(err)
	clock := &trust.Clock{}
	servers, err := trust.New(clock, "")
	w.must(err)
	k.rotator, err = rotate.New(rotate.Options{
		Provider: managed{k.client}, Bus: rotate.NATS{Conn: w.fleet}, Now: time.Now, Since: time.Now(), Random: func() float64 { return 0.3 },
		Issuer: rotate.NewAssertions(func() *openid.Provider {
			return openid.New(openid.Options{Issuer: w.provider.Issuer(), Clock: clock, Servers: servers})
		}),
	})
	w.must(err)
	return k
}

// standing are the keys of each device at the provider.
func (k *keyManager) standing(ids []string) map[string][]string {
	k.world.t.Helper()
	all := map[string][]string{}
	for _, id := range ids {
		keys, err := k.client.Keys(k.world.t.Context(), id)
		k.world.must(err)
		for _, one := range keys {
			all[id] = append(all[id], one.ID)
		}
	}
	return all
}

// change changes what each device should run, all the time. stop gives the hash of the
// last change.
func (w *world) change(ids []string) (stop func() (hash string)) {
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	hash := make(chan string, 1)
	go func() {
		last := ""
		for revision := uint64(1); ; revision++ {
			score := fmt.Appendf(nil, `{"data":{"services":[{"image":"app:%d","name":"web"}]},"type":"PodmanV0"}`, revision)
			for _, id := range ids {
				d := eventlog.Draft{Subject: eventlog.DesiredSubject(id, "web"), Type: eventlog.DesiredAssigned, Time: time.Now(), Namespace: "shop", Revision: revision, Data: score}
				if _, err := appender.Unfenced(context.Background(), w.js, "test", d); err != nil {
					w.t.Error(err)
				}
			}
			last = eventlog.Hash(score)
			if !pause.For(ctx, 300*time.Millisecond) {
				hash <- last
				return
			}
		}
	}()
	return sync.OnceValue(func() string { cancel(); return <-hash })
}

// pingAll pings devices all the time. stop gives how many pings were lost.
func (w *world) pingAll(ids []string) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	lost := make(chan int, 1)
	go func() {
		n := 0
		for ctx.Err() == nil {
			for _, id := range ids {
				if !w.ping(id, 20*time.Second) {
					n++
				}
			}
			pause.For(ctx, 100*time.Millisecond)
		}
		lost <- n
	}()
	return sync.OnceValue(func() int { cancel(); return <-lost })
}

// told is what the log has of one device.
type told struct {
	hash       string // of what it reports as running
	keyExpires time.Time
	gaps       string // where its numbered reports are not all there, each once
}

func (w *world) reports(ids []string) map[string]told {
	w.t.Helper()
	all := map[string]told{}
	numbers := map[string]map[string][]uint64{}
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		w.must(err)
		id := e.Address.Device
		if !slices.Contains(ids, id) {
			continue
		}
		one := all[id]
		switch e.Type {
		case eventlog.StateReported:
			s, err := e.State()
			w.must(err)
			if one.hash = ""; s.Phase == eventlog.PhaseRunning {
				one.hash = s.ScoreHash
			}
		case eventlog.InfoReported:
			var i eventlog.DeviceInfo
			w.must(json.Unmarshal(e.Data, &i))
			one.keyExpires = i.KeyExpires
		}
		if e.Counter.Epoch != "" {
			if numbers[id] == nil {
				numbers[id] = map[string][]uint64{}
			}
			numbers[id][e.Counter.Epoch] = append(numbers[id][e.Counter.Epoch], e.Counter.N)
		}
		all[id] = one
	}
	for id, epochs := range numbers {
		one := all[id]
		for epoch, ns := range epochs {
			slices.Sort(ns)
			for i, n := range ns {
				if n != ns[0]+uint64(i) {
					one.gaps = fmt.Sprintf("of epoch %s the log has the reports %v", epoch, ns)
				}
			}
		}
		all[id] = one
	}
	return all
}
