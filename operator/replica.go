package operator

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/operator/internal/devices"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/leader"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/operator/internal/sealer"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/syncsvc"
	"fleet.nationtech.io/projections/fleet"
)

// replica is a wired Operator.
type replica struct {
	options Options
	nc      *nats.Conn
	js      jetstream.JetStream
	kube    kubernetes.Interface

	fold        *state.Fold
	monitor     *liveness.Monitor
	brain       *decider.Decider
	deployments *deployments.Controller
	devices     *devices.Controller
	informers   externalversions.SharedInformerFactory
	sync        *syncsvc.Service
	candidate   leader.Candidate
	appender    *appender.Appender
	events      *kube.Events
	sealer      *sealer.Sealer
	metrics     *metrics

	room        room // the leading goroutine's own, as reserveOpen is
	reserveOpen bool
	owed        *reconciliation // nil: nothing
	leads       atomic.Bool     // a term is led: Events about the log are the leader's to write
	led         bool            // a term was led to the end of this replica
}

func (o *Operator) wire(nc *nats.Conn) (*replica, error) {
	opt := o.options
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	config := rest.CopyConfig(opt.RestConfig)
	if config.QPS == 0 {
		config.QPS = -1 // what is written is bounded by its writers, not by the client
	}
	config.UserAgent = "fleet-operator/" + version.Version
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	appender, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}

	r := &replica{options: opt, nc: nc, js: js, kube: core, appender: appender}
	r.metrics = newMetrics(opt.Registry)
	r.informers = externalversions.NewSharedInformerFactory(client, 0)
	r.fold = state.New(state.Options{JS: js, Logger: opt.Logger, Changed: r.folded, NoCheckpoints: opt.CheckpointEvents < 0})
	r.monitor = liveness.NewMonitor(liveness.NATS{Conn: nc}, opt.PulseInterval, r.turned)
	r.deployments, err = deployments.New(r.informers, deployments.Options{
		Client: client, Do: r.fold.Do, Now: opt.Now, Logger: opt.Logger,
		Decide:  func(key fleet.Key) { r.brain.Add(decider.Input{Input: decide.OfDeployment(key)}) },
		Patched: func() { r.metrics.patched("Deployment") },
		Unknown: func(d *v1alpha1.Deployment, message string) {
			r.events.WarnOf(corev1.ObjectReference{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment", Namespace: d.Namespace, Name: d.Name, UID: d.UID,
			}, ReasonUnknownFields, "Read", message)
		},
	})
	if err != nil {
		return nil, err
	}
	r.devices, err = devices.New(r.informers, devices.Options{
		Client: client, Labels: opt.DeviceLabels, Do: r.fold.Do, Now: opt.Now, Logger: opt.Logger,
		Decide:  func(id string) { r.brain.Add(decider.Input{Input: decide.OfDevice(id)}) },
		Patched: func() { r.metrics.patched("Device") },
		Returns: r.deviceReturns, ClearPulse: r.clearPulse,
	})
	if err != nil {
		return nil, err
	}
	r.sealer = r.newSealer()
	r.brain = decider.New(decider.Options{
		Fold: r.fold, Verdict: r.monitor.Verdict, Seal: r.sealer.Due, AwaitingFinalizer: r.deployments.AwaitingFinalizer,
		Settled: r.settled, Failed: r.failed, InitialPassDone: r.reconcile, Appended: r.appended, Full: r.full, Now: opt.Now, Logger: opt.Logger,
	})
	r.sync = syncsvc.New(nc, r.fold, syncsvc.DesiredState{JS: js}, syncsvc.Options{
		Log:    func(ctx context.Context) (logstream.Info, error) { return logstream.Inspect(ctx, js) },
		Logger: opt.Logger, Registry: opt.Registry,
	})
	r.candidate = leader.Candidate{
		Client: core, Namespace: opt.Namespace, Identity: opt.Identity,
		Duration: opt.LeaseDuration, Deadline: opt.RenewDeadline, Retry: opt.RetryPeriod, Logger: opt.Logger,
	}
	r.events = kube.NewEvents(core, opt.Identity, corev1.ObjectReference{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: opt.Namespace, Name: leader.LeaseName,
	}, opt.Logger)
	opt.Registry.MustRegister(collector{r}) // last: from now on it may be asked
	return r, nil
}

// watchAPI runs the watches until the context ends.
func (r *replica) watchAPI(ctx context.Context) error {
	r.informers.Start(ctx.Done())
	<-ctx.Done()
	r.informers.Shutdown()
	return nil
}

// synced says whether all that the API showed at first has been seen.
func (r *replica) synced() bool { return r.deployments.Synced() && r.devices.Synced() }

// folded is told what the log spoke of.
func (r *replica) folded(keys []fleet.Key, ids []string) {
	ins := make([]decider.Input, 0, len(keys)+len(ids))
	for _, k := range keys {
		ins = append(ins, decider.Input{Input: decide.OfProgress(k)})
	}
	for _, id := range ids {
		ins = append(ins, decider.Input{Input: decide.OfDevice(id)})
	}
	r.brain.Add(ins...)
	r.turned(r.watch(ids))
	r.deployments.Changed(keys)
	r.devices.Changed(ids)
}

// watch makes sure that the pulse of the devices is waited for. It gives those
// of whose presence the log says otherwise than the pulse.
func (r *replica) watch(ids []string) (turned []string) {
	type known struct {
		id       string
		presence fleet.Presence
		gone     bool
		left     bool
	}
	ks := make([]known, 0, len(ids))
	r.fold.Do(func(s *decide.State) {
		for _, id := range ids {
			if d := s.View().Devices[id]; d != nil {
				ks = append(ks, known{id, d.Presence, d.Info == nil && !d.Registered, d.Decommissioned})
				if d.Decommissioned {
					s.RemoveDevice(id) // allowed again, it begins with a new Device
				}
			}
		}
	})
	for _, k := range ks {
		switch {
		case k.left:
			r.monitor.Leave(k.id)
		case k.gone:
			r.monitor.Forget(k.id)
		case r.monitor.Know(k.id, k.presence):
			turned = append(turned, k.id)
		}
	}
	return turned
}

// deviceReturns says why a Device that was deleted is there again.
func (r *replica) deviceReturns(id string) {
	r.options.Logger.Info("a Device was deleted and is made again: the device is still of the fleet", "device", id)
	r.events.Warn(ReasonDeviceReturns, "Recreate", fmt.Sprintf(
		"Device %s was deleted. The operator makes it again, because the device is still of the fleet. To take the device out: fleetctl device decommission %s. "+
			"To have a deletion do so: kubectl annotate fleetdev %s %s=%s, then kubectl delete fleetdev %s",
		id, id, id, v1alpha1.AnnotationOnDelete, v1alpha1.OnDeleteDecommission, id),
		&corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device", Name: id})
}

// clearPulse takes a decommissioned device's last pulse out of device-heartbeat.
func (r *replica) clearPulse(ctx context.Context, id string) error {
	return logstream.ClearPulse(ctx, r.js, id)
}

// turned is told whose pulse began or ended.
func (r *replica) turned(ids []string) {
	ins := make([]decider.Input, len(ids))
	for i, id := range ids {
		ins[i] = decider.Input{Presence: id}
	}
	r.brain.Add(ins...)
}

// failed is told of what the decision failed: the objects' status says why.
func (r *replica) failed(ins []decide.Input) {
	for _, in := range ins {
		switch {
		case in.Device != "":
			r.devices.Changed([]string{in.Device})
		case in.Progress != (fleet.Key{}):
			r.deployments.Changed([]fleet.Key{in.Progress})
		default:
			r.deployments.Changed([]fleet.Key{in.Deployment})
		}
	}
}

// settled is told what has nothing more due.
func (r *replica) settled(ins []decide.Input) {
	for _, in := range ins {
		if in.Deployment != (fleet.Key{}) {
			r.deployments.Settled(in.Deployment)
		}
	}
}
