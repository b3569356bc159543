// Package term holds a leadership term: what a replica does from its election in the
// event log to the first thing that calls for another election.
package term

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/operator/internal/budgets"
	"fleet.nationtech.io/operator/internal/checkpointer"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/operator/internal/devices"
	"fleet.nationtech.io/operator/internal/gates"
	"fleet.nationtech.io/operator/internal/health"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/operator/internal/sealer"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/traces"
)

const (
	// retryPause is how long a replica waits after a term that failed.
	retryPause = time.Second
	// renewPause keeps a server that refuses at once from being asked without end.
	renewPause = 50 * time.Millisecond
)

// Parts are the components of a replica that its terms drive.
type Parts struct {
	NATS     *nats.Conn
	JS       jetstream.JetStream
	Kube     kubernetes.Interface
	Appender *appender.Appender

	State        *state.Fold
	Queue        *decider.Queue
	Decider      *decider.Decider
	Pulse        *liveness.Monitor
	Deployments  *deployments.Controller
	Devices      *devices.Controller
	Budgets      *budgets.Controller
	Checkpointer *checkpointer.Checkpointer
	Sealer       *sealer.Sealer
	Gates        *gates.Asker
	Traces       *traces.Traces // nil: none are told

	Events  *kube.Events
	Metrics *Metrics
	Buckets health.Options
}

// Settings are what a person decides about terms.
type Settings struct {
	Identity     string
	Replicas     int   // of each stream
	LogMaxBytes  int64 // of the log; 0: no limit
	AdoptCluster bool
	Now          func() time.Time
	Logger       *slog.Logger
}

// Leader leads one term after another while its replica holds the Lease.
type Leader struct {
	Parts
	Settings
	leads    atomic.Bool
	capacity capacity // of the log, as the last term learned it; the leading goroutine's own
}

// NewLeader wires a leader.
func NewLeader(p Parts, s Settings) *Leader { return &Leader{Parts: p, Settings: s} }

// Leads says whether a term is led now.
func (l *Leader) Leads() bool { return l.leads.Load() }

// Why a term ended though the Lease is still held. The next one begins at once.
var (
	errReconnected = errors.New("the connection to NATS was lost and is back: the buckets are checked and the election is renewed")
	errLogReplaced = errors.New("the event log was replaced or truncated: it is folded from the beginning")
	errAdopted     = errors.New("the event log belongs to this cluster now")
)

// Lead leads until the Lease is lost, which ends the context, or another replica is
// elected in the log. elected says whether this one was.
func (l *Leader) Lead(ctx context.Context) (elected bool, err error) {
	if !l.listed(ctx) {
		return false, nil
	}
	defer l.standDown()
	for {
		t := &Term{Leader: l}
		err := t.run(ctx)
		l.Metrics.leader.Set(0)
		l.leads.Store(false)
		l.Appender.Resign()
		elected = elected || t.token > 0
		switch {
		case ctx.Err() != nil:
			return elected, nil // the Lease is lost, or the replica ends
		case errors.Is(err, appender.ErrDeposed):
			return elected, err // another holds the log: give the Lease up, and stand for it again
		case errors.Is(err, errReconnected), errors.Is(err, errLogReplaced), errors.Is(err, errAdopted), errors.Is(err, appender.ErrUncertain):
			l.Logger.Info("a new term begins", "reason", err)
			pause.For(ctx, renewPause)
		default:
			l.Logger.Warn("the term failed; will retry", "error", err)
			pause.For(ctx, retryPause)
		}
	}
}

// listed waits until the Kubernetes API has listed all that is decided from, and says
// meanwhile what is missing. It is false where the context ends before.
func (l *Leader) listed(ctx context.Context) bool {
	synced := map[string]cache.InformerSynced{
		"deployments": l.Deployments.Synced, "devices": l.Devices.Synced, "disruptionbudgets": l.Budgets.Synced,
	}
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, listPause)
		var missing []string
		for _, resource := range slices.Sorted(maps.Keys(synced)) {
			if !cache.WaitForCacheSync(within.Done(), synced[resource]) {
				missing = append(missing, resource)
			}
		}
		cancel()
		if len(missing) == 0 {
			return true
		}
		if ctx.Err() == nil {
			l.Logger.Warn("the operator cannot lead yet: the Kubernetes API has not listed all that it decides from; install the CRDs of this version, and let the operator list and watch them", "missing", missing)
		}
	}
	return false
}

// listPause is how long the API may take to list all before the operator says what is
// missing.
const listPause = 10 * time.Second

// standDown takes back what only a leader reports: the next leader reports it, and
// nobody would take it back here.
func (l *Leader) standDown() {
	l.Metrics.mismatch.Set(0)
	l.capacity = capacityEnough
	l.Metrics.full.Set(0)
	l.Metrics.reserve.Set(0)
	l.Deployments.SetLog("", "")
}
