package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// Over many tokens, and while the provider is away, desired changes reach each device,
// its reports reach the log, and its commands are answered: nothing is lost and nothing
// is doubled. FLEET_SOAK_DEVICES and FLEET_SOAK make it larger and longer; with
// FLEET_SOAK_TOKENS=12h it says how quick the same is where no token ends.
func TestDevicesWorkOverManyTokensAndAnOutageOfTheProvider(t *testing.T) {
	t.Parallel()
	devices, length, life := 8, 60*time.Second, 20*time.Second
	for name, set := range map[string]func(string) error{
		"FLEET_SOAK_DEVICES": func(s string) (err error) { devices, err = strconv.Atoi(s); return err },
		"FLEET_SOAK":         func(s string) (err error) { length, err = time.ParseDuration(s); return err },
		"FLEET_SOAK_TOKENS":  func(s string) (err error) { life, err = time.ParseDuration(s); return err },
	} {
		if s := os.Getenv(name); s != "" {
			if err := set(s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	o := Options{DataDir: t.TempDir(), Devices: devices, Engine: EngineMemory, Auth: AuthOIDC, TokenLifetime: life}
	if err := Run(t.Context(), o, func(ctx context.Context, f *Fleet) error { return soak(ctx, t, f, length, life) }); err != nil {
		t.Fatal(err)
	}
}

const soakOutage = 15 * time.Second

func soak(ctx context.Context, t *testing.T, f *Fleet, length, tokens time.Duration) error {
	nc, err := f.Env.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kube, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return err
	}
	w := &soaking{t: t, fleet: f, js: js, changes: kube, began: time.Now(), outageAt: length/2 - soakOutage, tokens: tokens, back: map[string]bool{}}
	working, stop := context.WithTimeout(ctx, length)
	defer stop()
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{w.change, w.ping, w.outage} {
		parts.Go(func() {
			if err := part(working); err != nil {
				t.Error(err)
			}
		})
	}
	parts.Wait()
	return w.judge(ctx)
}

// soaking is a fleet under work.
type soaking struct {
	t        *testing.T
	fleet    *Fleet
	js       jetstream.JetStream
	changes  versioned.Interface
	began    time.Time
	outageAt time.Duration

	revisions uint64 // that were applied
	pings     struct {
		asked, lost int
		slowest     time.Duration
	}

	tokens time.Duration   // how long one holds
	back   map[string]bool // devices that answered with a token of after the outage
	healed time.Time       // when all of them had
}

// felt says whether the outage can be felt at a moment: a device whose token ended
// meanwhile comes back once it has a new one.
func (w *soaking) felt(at time.Time) bool {
	return at.After(w.began.Add(w.outageAt)) && (w.healed.IsZero() || at.Before(w.healed))
}

// answered notes that a device answered who was asked at a moment. No token of before the
// outage holds for longer after it than the quarter at the end, in which it is renewed.
func (w *soaking) answered(id string, asked time.Time) {
	if !w.healed.IsZero() || asked.Before(w.began.Add(w.outageAt+soakOutage+min(w.tokens/4, 20*time.Second))) {
		return
	}
	if w.back[id] = true; len(w.back) == len(w.fleet.Devices) {
		w.healed = time.Now()
	}
}

func (w *soaking) outage(ctx context.Context) error {
	if pause.For(ctx, w.outageAt) {
		w.fleet.provider.SetFault(&devprovider.Fault{Hang: true})
		defer w.fleet.provider.SetFault(nil)
		pause.For(ctx, soakOutage)
	}
	return nil
}

// change gives all devices another revision every three seconds.
func (w *soaking) change(ctx context.Context) error {
	api := w.changes.FleetV1alpha1().Deployments("default")
	_, err := api.Create(ctx, &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "soak"},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelDevice, Operator: metav1.LabelSelectorOpExists}}},
			Score:          v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "web", Image: "app:1"}}}},
			Rollout:        v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	w.revisions = 1
	for pause.For(ctx, 3*time.Second) {
		patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/score/data/services/0/image","value":"app:%d"}]`, w.revisions+1)
		// A change that the end of the test would cut short could be made without being counted.
		if _, err := api.Patch(context.WithoutCancel(ctx), "soak", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err
		}
		w.revisions++
	}
	return nil
}

// ping asks one device after the other.
func (w *soaking) ping(ctx context.Context) error {
	for i := 0; pause.For(ctx, 50*time.Millisecond); i++ {
		id := w.fleet.Devices[i%len(w.fleet.Devices)].ID
		began := time.Now()
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		m, err := w.js.Conn().RequestWithContext(brief, eventlog.DeviceCommandSubject(id, eventlog.VerbPing), nil)
		cancel()
		w.pings.asked++
		var pong struct {
			DeviceID string `json:"device_id"`
		}
		ok := err == nil && json.Unmarshal(m.Data, &pong) == nil && pong.DeviceID == id
		if ok {
			w.answered(id, began)
		}
		switch {
		case w.felt(began) || w.felt(time.Now()):
			if !ok {
				w.pings.lost++
			}
		case !ok:
			w.t.Errorf("ping of %s, %v after the beginning: %v", id, began.Sub(w.began).Round(time.Second), err)
		default:
			w.pings.slowest = max(w.pings.slowest, time.Since(began))
		}
	}
	return nil
}

// judge waits until each device runs the last revision, and says what the log has of
// the way there.
func (w *soaking) judge(ctx context.Context) error {
	key := fleet.Key{Namespace: "default", Name: "soak"}
	var slowest time.Duration // from an assignment to the report that it runs
	reports := 0
	return until(ctx, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		v := fleet.New()
		assigned := map[string]time.Time{} // device and revision
		slowest, reports = 0, 0
		for e, err := range reader.Read(ctx, w.js, reader.Options{}) {
			if err != nil {
				return false, "", err
			}
			fleet.Apply(v, e, nil)
			switch e.Type {
			case eventlog.DesiredAssigned:
				assigned[fmt.Sprint(e.Address.Device, e.Revision)] = e.Recorded
			case eventlog.StateReported:
				reports++
				s, err := eventlog.Payload[eventlog.DeploymentState](e)
				at, ok := assigned[fmt.Sprint(e.Address.Device, s.Revision)]
				if err == nil && ok && s.Phase == eventlog.PhaseRunning && !w.felt(at) && !w.felt(e.Recorded) {
					slowest = max(slowest, e.Recorded.Sub(at))
					delete(assigned, fmt.Sprint(e.Address.Device, s.Revision))
				}
			}
		}
		if d := v.Deployments[key]; d == nil || d.Counts.Succeeded != len(w.fleet.Devices) || d.Spec.Revision != w.revisions {
			return false, fmt.Sprintf("not all devices run revision %d", w.revisions), nil
		}
		for id, d := range v.Devices {
			if d.Identity.Gaps > 0 || d.Identity.Repeats > 0 {
				w.t.Errorf("%s: %d reports were lost, %d were stored twice", id, d.Identity.Gaps, d.Identity.Repeats)
			}
		}
		w.t.Logf("%d devices: %d revisions, %d reports, none lost and none stored twice; slowest from an assignment to its report %v; "+
			"%d pings, the slowest %v; of those in reach of the provider's outage of %v, %d found no device",
			len(w.fleet.Devices), w.revisions, reports, slowest.Round(time.Millisecond), w.pings.asked, w.pings.slowest.Round(time.Millisecond), soakOutage, w.pings.lost)
		return true, "", nil
	})
}
