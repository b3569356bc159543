package app

import (
	"context"

	"github.com/nats-io/nkeys"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/operator/internal/budgets"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/operator/internal/devices"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/operator/internal/sealer"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// changes passes on what the event log changed.
type changes struct {
	state       *state.Fold
	queue       *decider.Queue
	pulse       *liveness.Monitor
	deployments *deployments.Controller
	devices     *devices.Controller
	budgets     *budgets.Controller
}

var _ state.Observer = changes{}

// Changed implements state.Observer.
func (c changes) Changed(keys []fleet.Key, ids []string) {
	c.queue.AddProgress(keys...)
	c.queue.AddDevices(ids...)
	c.queue.AddPresence(c.pulse.Follow(c.state, ids)...)
	c.deployments.Changed(keys)
	c.devices.Changed(ids)
	c.budgets.Changed()
}

// sealKey gives the key by which the log is sealed, when it is asked for.
func sealKey(o Options, core kubernetes.Interface) func(context.Context) (nkeys.KeyPair, error) {
	return func(ctx context.Context) (nkeys.KeyPair, error) {
		if o.SealKeyFile != "" {
			return sealer.KeyFromFile(o.SealKeyFile)
		}
		return sealer.KeyInSecret(ctx, core, o.Namespace)
	}
}
