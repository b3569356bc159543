package doctor

import (
	"fmt"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/timeline"
)

// Limits from which something is not as it should be.
const (
	slowRoundTrip = time.Second
	diskWarning   = 30 * 24 * time.Hour
	diskFailure   = 3 * 24 * time.Hour
	// leastHistory is how long a log must be for a rate to mean something.
	leastHistory = time.Hour
)

func connection(f Facts, r *report) {
	s := f.Server
	if s == nil {
		return
	}
	switch {
	case s.RoundTrip == 0:
		r.fail("look whether that server still runs, and at the network between here and it", "%s does not answer a ping", s.URL)
	case s.RoundTrip > slowRoundTrip:
		r.warn("look at the network between here and the servers, or use a nearer server: --url", "%s answers after %s", s.URL, span(s.RoundTrip))
	}
	if c := s.Certificate; c != nil {
		certificate(r, "the certificate of "+s.URL, *c, f.At)
	}
	r.well("%s answers in %s", s.URL, span(s.RoundTrip))
}

// certificate judges when a certificate ends, as the list of what needs a person does.
func certificate(r *report, what string, c attention.Certificate, at time.Time) {
	const remedy = "renew it: docs/operations.md"
	left := c.Ends.Sub(at)
	switch severity := c.Severity(at); {
	case left <= 0:
		r.fail(remedy, "%s ended at %s", what, c.Ends.UTC().Format(time.RFC3339))
	case severity == attention.Critical:
		r.fail(remedy, "%s ends in %s", what, span(left))
	case severity == attention.Warning:
		r.warn(remedy, "%s ends in %s", what, span(left))
	}
}

func account(f Facts, r *report) {
	s := f.Server
	if s == nil {
		return
	}
	who := fmt.Sprintf("user %q in account %s", s.User, s.Account)
	switch s.Account {
	case eventlog.AccountPeople, eventlog.AccountFleet:
	case "":
		r.well("user %q; the servers do not say of which account", s.User)
	case eventlog.AccountGlobal:
		r.warn("configure accounts as docs/security.md says, so that a device can do nothing but its own", "this is %s, so the servers have no accounts of a fleet: any client that connects may do all", who)
	case eventlog.AccountSystem:
		r.well("user %q, in the servers' own account: it tells of each server, and has no event log", s.User)
		return
	case eventlog.AccountDevices:
		r.fail("the user of a person, by fleetctl login or --user", "this is %s: a device's, which reads no log", who)
	default:
		r.warn("the user of a viewer, an operator or an admin, by fleetctl login or --user; docs/security.md has the accounts of a fleet", "this is %s, which is none of a fleet", who)
	}
	r.well("%s", who)
}

func log(f Facts, r *report) {
	l := f.Log
	if l == nil {
		return
	}
	if l.Trouble != nil {
		r.fail(l.Trouble.Remedy, "%s", l.Trouble.Message)
		return
	}
	if !l.Leader {
		r.fail("bring the servers back of which most have a replica of the log", "no server leads the log: nothing can be appended")
	}
	if len(l.Behind) > 0 {
		r.warn("look at those servers: nats server report jetstream", "the log's replica on %s is offline or behind", strings.Join(l.Behind, ", "))
	}
	if l.Missing != "" {
		r.fail("what is missing: fleetctl verify; an archive that has it: fleetctl restore --help", "the log is not whole: %s", l.Missing)
	}
	if len(l.Faults) > 0 {
		r.fail("restart the operator with the right flags: it brings the log to its configuration when it starts", "the log is not configured as it should be: %s", strings.Join(l.Faults, "; "))
	}
	if len(l.Permanent) > 0 {
		r.fail("no operator takes that back: archive the log, and restore it into a new stream; docs/recovery.md", "the log is not configured as it should be: %s", strings.Join(l.Permanent, "; "))
	}
	spread(f, r)
	r.well("%d events, %s, %s", l.Last, bytes(float64(l.Bytes)), replicas(l.Replicas))
}

// spread looks whether the log is on more than one disk where there are more.
func spread(f Facts, r *report) {
	l, servers := f.Log, f.servers()
	switch {
	case l.Replicas >= 3 || l.Replicas == 0:
	case servers >= 3:
		r.fail("restart the operator with --replicas 3", "the log has %s, and there are %d servers: it is lost with one disk", replicas(l.Replicas), servers)
	case l.Replicas < servers || l.Replicas == 1 && l.Cluster != "":
		r.fail("run three servers, and restart the operator with --replicas 3", "the log has %s in the cluster %q of servers: it is lost with one disk", replicas(l.Replicas), l.Cluster)
	}
}

func replicas(n int) string { return phrase.Number(n, "replica", "replicas") }

func disk(f Facts, r *report) {
	l := f.Log
	if l == nil || l.Trouble != nil {
		r.add(LeftOut, "there is no log", "")
		return
	}
	const remedy = "raise the operator's --log-max-bytes, and the disk: docs/operations.md"
	if l.MaxBytes <= 0 {
		rate := ""
		if g := f.Growth; g != nil && g.In >= leastHistory && g.Bytes > 0 {
			rate = fmt.Sprintf(", and grows by %s a day", bytes(g.Bytes/g.In.Seconds()*86400))
		}
		r.add(LeftOut, fmt.Sprintf("the log has no limit (%s so far%s), and what the disk has left the servers alone know", bytes(float64(l.Bytes)), rate), "")
		return
	}
	size := attention.LogSize{Bytes: l.Bytes, MaxBytes: uint64(l.MaxBytes), Size: uint64(max(0, l.Size))}
	of := fmt.Sprintf("the log has %s of %s", bytes(float64(l.Bytes)), bytes(float64(l.MaxBytes)))
	switch size.Room() {
	case attention.RoomNone, attention.RoomReserve:
		r.fail(remedy, "%s: %s", of, size.Sentence())
		return
	case attention.RoomLittle:
		r.warn(remedy, "%s: %s", of, size.Sentence())
	case attention.RoomEnough:
	}
	if f.GrowthUnread != "" {
		r.well("%s", of)
		r.add(LeftOut, "when it is full cannot be said: "+f.GrowthUnread, "")
		return
	}
	g := f.Growth
	if g == nil || g.In < leastHistory || g.Bytes <= 0 {
		r.well("%s; it is too young to say when it is full", of)
		return
	}
	left := (float64(l.MaxBytes) - float64(l.Bytes)) / g.Bytes * g.In.Seconds()
	rate := bytes(g.Bytes/g.In.Seconds()*86400) + " a day"
	switch full := seconds(left); {
	case full < diskFailure:
		r.fail(remedy, "%s, and at the present rate of %s it is full in %s", of, rate, span(full))
	case full < diskWarning:
		r.warn(remedy, "%s, and at the present rate of %s it is full in %s", of, rate, span(full))
	default:
		r.well("%s; at the present rate of %s it is full in %s", of, rate, span(full))
	}
}

// seconds is a duration, at most as long as one can be.
func seconds(s float64) time.Duration {
	const most = 250 * 365 * 24 * time.Hour
	if s > most.Seconds() {
		return most
	}
	return time.Duration(s * float64(time.Second))
}

func checkBuckets(f Facts, r *report) {
	if len(f.Buckets)+len(f.BucketsUnread) == 0 {
		return
	}
	for _, b := range f.Buckets {
		if !b.Kept(f.serverNow()) {
			remedy := b.Remedy()
			if !strings.HasPrefix(b.Command(), "fleetctl doctor") { // this is it
				remedy += ": " + b.Command()
			}
			r.fail(remedy, "bucket %s: %s", b.Name, b.Reason())
		}
		if l := f.Log; l != nil && l.Trouble == nil && b.Finding != buckets.Missing && b.Replicas < l.Replicas {
			r.warn("restart the operator with --replicas "+fmt.Sprint(l.Replicas), "bucket %s has %s, and the log has %d", b.Name, replicas(b.Replicas), l.Replicas)
		}
	}
	if len(f.BucketsUnread) == 0 {
		r.well("all %d are in service and have what the log has", len(f.Buckets))
	}
	for _, why := range f.BucketsUnread {
		r.add(LeftOut, why, "")
	}
}

// serverNow is the time by the servers' clock.
func (f Facts) serverNow() time.Time {
	if f.Server == nil {
		return f.At
	}
	return f.At.Add(f.Server.Ahead)
}

// bytes is a number of bytes for people.
func bytes(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") + " " + unit
		}
		n /= 1024
	}
	return fmt.Sprintf("%.1f TiB", n)
}

func span(d time.Duration) string { return timeline.SpanText(d.Seconds()) }
