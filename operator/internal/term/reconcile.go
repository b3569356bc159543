package term

import (
	"context"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/decide"
)

// reconciliation is what a term owes a log that was restored from an archive. The
// archive may be older than what devices run, so no device is told what it should run
// before all that follows from the cluster's objects is decided; syncsvc asks the log's
// own metadata whether that has been, in every replica. Where the cluster's objects
// were lost as well, there is nothing to hold the log against, and devices go to what
// it says.
type reconciliation struct {
	logID string
	done  chan struct{} // closes when the log is reconciled
}

// pendingReconciliation gives what a term owes the log; nil where that is nothing.
func pendingReconciliation(log logstream.Info) *reconciliation {
	if !log.Restored.Pending() {
		return nil
	}
	return &reconciliation{logID: log.ID, done: make(chan struct{})}
}

// InitialPassDone implements decider.Observer: a restored log agrees with the cluster.
func (t *Term) InitialPassDone(ctx context.Context) error {
	if t.reconciliation == nil {
		return nil
	}
	sequence := t.State.Sequence()
	if err := logstream.Reconcile(ctx, t.JS, t.reconciliation.logID, sequence); err != nil {
		return err
	}
	t.Logger.Info("the restored event log agrees with the cluster; the operator answers devices again", "log", t.reconciliation.logID, "sequence", sequence)
	t.State.Do(func(s *decide.State) { s.Restored(0) })
	close(t.reconciliation.done)
	return nil
}
