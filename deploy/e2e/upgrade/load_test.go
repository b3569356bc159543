//go:build e2e

package upgrade_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/devicetest"
)

const (
	groups      = 8
	devicesEach = 8
	sites       = 4
	labelled    = "labelled" // a Deployment whose devices come and go
)

// inBatches is how a Deployment of a group rolls out. A run takes two seconds at least, so
// some rollout is under way at any moment.
const inBatches = `{"batches":[{"size":3,"soak":"1s"},{"size":"50%","soak":"1s"},{"soak":"0s"}],"maxUnavailable":"50%","progressDeadline":"300s"}`

const immediately = `{"strategy":"Immediate"}`

// load changes Deployments and labels without pause. What it did is remembered.
type load struct {
	w        *world
	revision [groups]int // of each group, as applied and completed
	moves    int         // of devices into the Deployment labelled and out of it
}

func group(i int) string { return fmt.Sprintf("group-%d", i) }

func simulated(i int) string { return fmt.Sprintf("sim-%02d", i) }

// simulate starts the devices that the load is for, which keep their containers in memory
// alone, and waits until the operator knows them.
func (w *world) simulate() *load {
	w.t.Helper()
	limit := intstr.FromInt32(6)
	_, err := w.kube.FleetV1alpha1().DisruptionBudgets().Create(w.t.Context(), &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "sites"},
		Spec: v1alpha1.DisruptionBudgetSpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"fleet": "simulated"}}, MaxUnavailable: &limit, GroupBy: []string{"site"},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	labels := map[string]map[string]string{}
	for i := range groups * devicesEach {
		labels[simulated(i)] = map[string]string{"group": group(i % groups), "site": fmt.Sprint("s", i/groups%sites), "fleet": "simulated"}
	}
	w.fleet = devicetest.Start(w.t, w.nc, w.js, labels)
	w.eventually("the operator knows the simulated devices", func(ctx context.Context) error {
		l, err := w.kube.FleetV1alpha1().Devices().List(ctx, metav1.ListOptions{LabelSelector: "fleet=simulated"})
		if err == nil && len(l.Items) != len(labels) {
			err = fmt.Errorf("%d of %d", len(l.Items), len(labels))
		}
		return err
	})
	w.must(w.apply(w.t.Context(), labelled, `{"labelled":"yes"}`, service("labelled:1"), immediately))
	return &load{w: w}
}

// begin puts the load on the fleet. What it gives takes it off again, once each change is
// complete.
func (l *load) begin() (end func()) {
	ctx, cancel := context.WithCancel(l.w.t.Context())
	var all sync.WaitGroup
	for i := range groups {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := l.change(i); err != nil {
					l.w.t.Error(err)
					return
				}
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			if err := l.move(); err != nil {
				l.w.t.Error(err)
				return
			}
		}
	})
	end = sync.OnceFunc(func() { cancel(); all.Wait() })
	l.w.t.Cleanup(end)
	return end
}

// change takes a group to its next revision.
func (l *load) change(i int) error {
	next := l.revision[i] + 1
	ctx := l.w.t.Context()
	if err := l.w.apply(ctx, group(i), fmt.Sprintf(`{"group":%q}`, group(i)), service(fmt.Sprint(group(i), ":", next)), inBatches); err != nil {
		return err
	}
	err := poll(ctx, fmt.Sprintf("revision %d of %s is complete", next, group(i)), func(ctx context.Context) error {
		s, err := l.w.rollout(ctx, group(i))
		if err == nil && (s.Phase != v1alpha1.RolloutCompleted || s.Revision != int64(next)) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	l.revision[i] = next
	return err
}

// move gives a device the label that puts it into the Deployment labelled, or takes the
// label off the device that had it, and waits until the log has brought it there.
func (l *load) move() error {
	id := simulated(l.moves / 2 % (groups * devicesEach))
	label, want := `"yes"`, int32(1)
	if l.moves%2 == 1 {
		label, want = "null", 0
	}
	ctx := l.w.t.Context()
	_, err := l.w.kube.FleetV1alpha1().Devices().Patch(ctx, id, types.MergePatchType, []byte(`{"metadata":{"labels":{"labelled":`+label+`}}}`), metav1.PatchOptions{FieldManager: "test"})
	if err != nil {
		return err
	}
	l.moves++
	return poll(ctx, fmt.Sprintf("move %d of %s", l.moves, id), func(ctx context.Context) error {
		d, err := l.w.kube.FleetV1alpha1().Deployments(l.w.ns).Get(ctx, labelled, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if a := d.Status.Aggregate; a == nil || a.MatchedDeviceCount != want || a.Succeeded != want {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
}

// underWay waits until a rollout of the load is between its start and its end.
func (w *world) underWay() {
	w.t.Helper()
	w.eventually("a rollout is under way", func(ctx context.Context) error {
		var all []string
		for i := range groups {
			s, err := w.rollout(ctx, group(i))
			if err != nil {
				return err
			}
			if s.Phase == v1alpha1.RolloutProgressing {
				return nil
			}
			all = append(all, string(s.Phase))
		}
		return fmt.Errorf("they are %s", strings.Join(all, ", "))
	})
}

// rollout is what a Deployment's status says of its rollout, once it is of the newest
// generation.
func (w *world) rollout(ctx context.Context, name string) (v1alpha1.RolloutStatus, error) {
	d, err := w.kube.FleetV1alpha1().Deployments(w.ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil || d.Status.Rollout == nil || d.Status.ObservedGeneration != d.Generation {
		return v1alpha1.RolloutStatus{}, err
	}
	return *d.Status.Rollout, nil
}

func service(image string) string { return fmt.Sprintf(`{"name":"main","image":%q}`, image) }

// apply applies a Deployment as kubectl apply does, again where the API server begins to
// serve a definition just then.
func (w *world) apply(ctx context.Context, name, selector, service, rollout string) error {
	body := fmt.Sprintf(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},
		"spec":{"targetSelector":{"matchLabels":%s},"score":{"type":"PodmanV0","data":{"services":[%s]}},"rollout":%s}}`, name, w.ns, selector, service, rollout)
	if !json.Valid([]byte(body)) {
		return fmt.Errorf("no JSON: %s", body)
	}
	return poll(ctx, name+" is applied", func(ctx context.Context) error {
		_, err := w.kube.FleetV1alpha1().Deployments(w.ns).Patch(ctx, name, types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "test"})
		return err
	})
}
