package verify_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

// On three servers appends go in atomic batches, whose headers the log keeps and
// the buckets do not.
func TestAReplicatedLogAgrees(t *testing.T) {
	t.Parallel()
	nc, js := natstest.Cluster(t, 3, natstest.PeoplesAPI(t)).Connect(t)
	natstest.EnsureLog(t, js, 3)
	natstest.Settle(t, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, js, buckets.Config{Replicas: 3})
		return err
	})
	a, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Settle(t, func(ctx context.Context) error {
		_, err := a.Elect(ctx, eventlog.Leader{Identity: "op"}, at)
		return err
	})
	drafts := make([]eventlog.Draft, 300)
	for i := range drafts {
		drafts[i] = eventlog.Draft{
			Subject: eventlog.DesiredSubject(fmt.Sprintf("pi-%d", i%50), "web"), Type: eventlog.DesiredAssigned, Time: at,
			Namespace: "shop", Revision: 1, Data: score,
		}
	}
	if _, err := a.Append(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, js: js, tree: seal.NewTree()}
	w.key, w.public = w.newKey()
	w.seal(w.key, nil)
	r := w.verify(verify.Options{Trusted: seal.Keys{w.public}})
	wantKinds(t, r, map[verify.Kind]uint64{})
	if diff := cmp.Diff(verify.Bucket{Name: eventlog.BucketDesired, Keys: 50, Compared: 50}, r.Buckets[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
