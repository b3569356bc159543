// Package operator is the fleet's operator: it watches Deployments and Devices
// in Kubernetes, decides from them and the fold of the event log what is due,
// appends it, and writes status back. Several replicas run; the one that holds
// the Lease and was elected in the log decides, all answer sync.
package operator

import (
	"context"
)

// Operator is one replica.
type Operator struct {
	options Options
}

// New checks the options and wires a replica; it does not touch the world.
func New(o Options) (*Operator, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Operator{options: o}, nil
}

// Run works until the context ends, and then returns nil.
func (o *Operator) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
