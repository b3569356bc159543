package operator

import (
	"context"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/sealer"
)

// ReasonSealBroken says that a seal of the log contradicts the log, so that the
// log is not sealed any more.
const ReasonSealBroken = "SealBroken"

// SealKeyInFile reads the key that seals the log from a file, and makes one where
// there is none: for those who run an operator in their own process.
func SealKeyInFile(file string) (nkeys.KeyPair, error) { return sealer.KeyInFile(file) }

func (r *replica) newSealer() *sealer.Sealer {
	opt := r.options
	return sealer.New(sealer.Options{
		JS: r.js, Key: r.sealKey, Events: opt.SealEvents, Interval: opt.SealInterval,
		Propose: func() { r.brain.Add(decider.Input{Seal: true}) },
		Broken: func(err error) {
			r.events.Warn(ReasonSealBroken, "Seal", err.Error()+". Nothing is sealed any more; what differs is told by: fleetctl verify", nil)
		},
		Metrics: sealer.NewMetrics(opt.Registry), Now: opt.Now, Logger: opt.Logger,
	})
}

func (r *replica) sealKey(ctx context.Context) (nkeys.KeyPair, error) {
	if r.options.SealKeyFile != "" {
		return sealer.KeyFromFile(r.options.SealKeyFile)
	}
	return sealer.KeyInSecret(ctx, r.kube, r.options.Namespace)
}
