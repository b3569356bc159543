package term

import (
	"context"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
)

// mismatchCheck is how often a term that was refused looks whether the log still
// belongs to another cluster.
const mismatchCheck = 5 * time.Second

// checkOwner makes sure that the log belongs to this cluster, as of its last election,
// which a state that read on after the connection was lost may not have passed yet.
// Where it does not, the term decides nothing, until it ends.
func (t *Term) checkOwner(ctx context.Context) error {
	last, err := reader.LastSequence(ctx, t.JS, eventlog.LogStream, eventlog.LeaderSubject)
	if err != nil {
		return fmt.Errorf("find out whose the event log is: %w", err)
	}
	if err := t.State.WaitFor(ctx, last); err != nil {
		return err
	}
	if other := t.otherCluster(); other != "" {
		return t.refuse(ctx, other)
	}
	return nil
}

// otherCluster is the uid of the cluster that the log belongs to, where that is
// another and may not be taken over.
func (t *Term) otherCluster() string {
	var owner string
	t.State.Do(func(s *decide.State) { owner = s.View().Leader.ClusterUID })
	if owner == t.cluster || t.AdoptCluster {
		return ""
	}
	return owner
}

// refuse says why nothing is decided here, in every place where a person would look,
// until the log belongs to this cluster or the term ends.
func (t *Term) refuse(ctx context.Context, owner string) error {
	why := fmt.Sprintf("the event log belongs to the cluster with uid %s, this is %s: the operator decides nothing here. "+
		"If this cluster takes the other's place, start the operator with --adopt-cluster; else point it at its own NATS", owner, t.cluster)
	t.Metrics.mismatch.Set(1)
	t.Logger.Error("cluster mismatch: the operator decides nothing here", "log", owner, "cluster", t.cluster, "reason", status.ReasonClusterMismatch)
	t.Events.Warn(status.ReasonClusterMismatch, "Refuse", why, nil)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		for ctx.Err() == nil {
			if t.otherCluster() == "" {
				end(errAdopted)
			}
			pause.For(ctx, mismatchCheck)
		}
	}()
	t.Deployments.Mismatch(ctx, why)
	return cause(ctx, ctx.Err())
}
