// Package operator is the fleet's operator: it watches Deployments and Devices
// in Kubernetes, decides from them and the fold of the event log what is due,
// appends it, and writes status back. Several replicas run; the one that holds
// the Lease and was elected in the log decides, all answer sync.
package operator

import (
	"context"
	"net"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/operator/internal/app"
	"fleet.nationtech.io/operator/internal/sealer"
)

// Operator is one replica.
type Operator struct{ app *app.App }

// New checks the options; it does not touch the world.
func New(o Options) (*Operator, error) {
	a, err := app.New(o)
	if err != nil {
		return nil, err
	}
	return &Operator{app: a}, nil
}

// Run works until the context ends, and then returns nil. internal/app has the picture.
func (o *Operator) Run(ctx context.Context) error { return o.app.Run(ctx) }

// Addr waits until HTTP is served and says where; nil where it is not.
func (o *Operator) Addr(ctx context.Context) net.Addr { return o.app.Addr(ctx) }

// DashboardAddr waits until the dashboard is served and says where; nil where it is not.
func (o *Operator) DashboardAddr(ctx context.Context) net.Addr { return o.app.DashboardAddr(ctx) }

// SealKeyInFile reads the key that seals the log from a file, and makes one where
// there is none: for those who run an operator in their own process.
func SealKeyInFile(file string) (nkeys.KeyPair, error) { return sealer.KeyInFile(file) }
