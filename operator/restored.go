package operator

import (
	"context"

	"fleet.nationtech.io/eventlog/logstream"
)

// reconciliation is what a term owes a log that was restored from an archive.
// The archive may be older than what devices run, so none of them is told what
// it should run before all that follows from the cluster's objects is decided;
// syncsvc asks the log's own metadata whether that has been, in every replica.
// Where the cluster's objects were lost as well, there is nothing to hold the log
// against, and devices go to what it says.
type reconciliation struct {
	logID string
	done  chan struct{} // closes when it is
}

// owed gives what a term owes the log; nil where that is nothing.
func owed(info logstream.Info) *reconciliation {
	if !info.Restored.Pending() {
		return nil
	}
	return &reconciliation{logID: info.ID, done: make(chan struct{})}
}

// reconcile is told that all which was left to decide is decided.
func (r *replica) reconcile(ctx context.Context) error {
	if r.owed == nil {
		return nil
	}
	sequence := r.fold.Sequence()
	if err := logstream.Reconcile(ctx, r.js, r.owed.logID, sequence); err != nil {
		return err
	}
	r.options.Logger.Info("the restored log agrees with the cluster: devices are answered", "log", r.owed.logID, "sequence", sequence)
	close(r.owed.done)
	return nil
}
