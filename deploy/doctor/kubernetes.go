package doctor

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// leasePatience is how long ago the leader may have renewed its Lease: it does so each two
// seconds, and another takes over after fifteen.
const leasePatience = time.Minute

func kubernetes(f Facts, r *report) {
	k := f.Kubernetes
	if k == nil {
		return
	}
	if k.Trouble != nil {
		r.fail(k.Trouble.Remedy, "%s", k.Trouble.Message)
		return
	}
	if len(k.Missing) > 0 {
		r.fail("kubectl apply --server-side -f the CRDs, or fleetctl upgrade", "these CRDs are not there, or not established: %s", strings.Join(k.Missing, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(k.NotReady)) {
		r.fail("kubectl describe "+name, "%s is not ready: %s", name, k.NotReady[name])
	}
	switch {
	case k.LeaseAge < -leasePatience:
		r.warn("have the clocks synchronised by NTP", "the operator's Lease was renewed %s from now by the operator's clock: nobody can say from here whether one leads", span(-k.LeaseAge))
	case k.LeaseAge > leasePatience:
		r.fail("look at the operator's pods and their log", "the operator's Lease was renewed %s ago: none leads", span(k.LeaseAge))
	}
	if len(f.members()) == 0 { // else the servers said themselves with what they run
		configured(k, f.Log, r)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Certificates)) {
		certificate(r, "the certificate in Secret "+name, k.Certificates[name], f.At)
	}
	switch {
	case k.Installed && k.Surveyed:
		r.well("the server side is ready in the cluster %s", k.Cluster)
	case k.Installed:
		r.well("what could be looked at of the server side is ready in the cluster %s", k.Cluster)
	case k.Surveyed && k.Defined:
		r.well("the cluster %s has the CRDs, and the servers run elsewhere", k.Cluster)
	case k.Surveyed:
		r.well("the servers run elsewhere than in the cluster %s", k.Cluster)
	case k.Defined:
		r.well("the cluster %s has the CRDs", k.Cluster)
	}
	for _, what := range k.Unread {
		r.add(LeftOut, what, "")
	}
}

// configured looks whether the servers' configuration has them write each message through.
func configured(k *Kubernetes, l *Log, r *report) {
	if k.Synced == nil || *k.Synced || l == nil {
		return
	}
	const remedy = "set sync_interval: always in the servers' configuration, as the chart does"
	switch {
	case l.Replicas > 1:
		r.warn(remedy, "the NATS servers do not write each message through to their disks: a power cut of all servers at once loses what was acknowledged")
	case l.Replicas == 1:
		r.fail(remedy, "the log has 1 replica, and the NATS server does not write each message through to its disk: a power cut loses what was acknowledged")
	}
}
