package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/rollout"
)

const (
	// storageWarning and storageFailure are the shares of a limit from which what is stored needs
	// a person. A server that has all that it may refuses messages of every stream.
	storageWarning = 0.8
	storageFailure = 0.95
)

// storage looks at how much streams, the account and the servers may store, and whether the
// servers write it through to their disks.
func storage(f Facts, r *report) {
	streams, members := f.streams(), f.members()
	var names []string
	for _, s := range streams {
		names = append(names, s.Name)
		if s.Name != eventlog.LogStream { // the check of the disk is about it
			limited(s, r)
		}
	}
	const remedy = "give it a larger disk, or the streams less: docs/operations.md"
	if a := f.AccountRoom; a != nil {
		room(*a, "the account of the log", "raise the account's limit of JetStream, or give the streams less", r)
	}
	for _, m := range members {
		room(m.Room, "NATS server "+m.Server, remedy, r)
	}
	writes(f, members, r)
	if len(names) == 0 && len(members) == 0 {
		return
	}
	var has, may uint64
	for _, s := range streams {
		if !s.Memory {
			has += s.Bytes
		}
	}
	may = Promised(streams)
	said := fmt.Sprintf("the streams have %s, and may have %s together", bytes(float64(has)), bytes(float64(may)))
	if len(members) > 0 {
		r.well("%s; %s", said, rooms(members))
		return
	}
	r.well("%s", said)
	if s := f.Server; s != nil {
		r.add(LeftOut, fmt.Sprintf("user %q may not ask the servers how much they may store, and whether they write it through to their disks. Ask as a user of account %s, or give --kubeconfig where they run in Kubernetes", s.User, eventlog.AccountSystem), "")
	}
	if f.AccountUnread != "" {
		r.add(LeftOut, "what the account may store is not known: "+f.AccountUnread, "")
	}
}

// limited looks at a stream that has a limit of its own.
func limited(s Stream, r *report) {
	if s.MaxBytes == 0 || float64(s.Bytes) < storageWarning*float64(s.MaxBytes) {
		return
	}
	remedy := "raise the stream's max_bytes: nats stream edit"
	switch {
	case s.Name == eventlog.BucketStream(eventlog.BucketSessions):
		r.warn("have persons sign out who need no session; the operator gives that stream its limit", "the sessions of the dashboard have %s of %s: once they have all, nobody else can sign in", bytes(float64(s.Bytes)), bytes(float64(s.MaxBytes)))
		return
	case s.Name == eventlog.PulseStream, slices.ContainsFunc(eventlog.Buckets(), func(b string) bool { return s.Name == eventlog.BucketStream(b) }):
		remedy = "the stream is to have no limit: restart the operator that leads, which takes it away"
	}
	of := fmt.Sprintf("stream %s has %s of %s", s.Name, bytes(float64(s.Bytes)), bytes(float64(s.MaxBytes)))
	switch {
	case s.Drops:
		r.warn(remedy, "%s: it drops its oldest messages then", of)
	case float64(s.Bytes) >= storageFailure*float64(s.MaxBytes):
		r.fail(remedy, "%s: it refuses messages, or soon will", of)
	default:
		r.warn(remedy, "%s: it refuses messages once it has all", of)
	}
}

// room looks at what may be stored in one place.
func room(m Room, where, remedy string, r *report) {
	if m.Limit == 0 {
		return
	}
	of := fmt.Sprintf("%s has stored %s of %s", where, bytes(float64(m.Used)), bytes(float64(m.Limit)))
	switch used := float64(m.Used) / float64(m.Limit); {
	case used >= storageFailure:
		r.fail(remedy, "%s: streams refuse messages, or soon will", of)
	case m.Promised > m.Limit:
		r.warn(remedy, "%s, and its streams may have %s together: it is full before they have what they may", of, bytes(float64(m.Promised)))
	case used >= storageWarning:
		r.warn(remedy, "%s", of)
	}
}

// rooms says what is left on the server that has the least.
func rooms(members []Member) string {
	var least *Member
	for i, m := range members {
		if m.Room.Limit > 0 && (least == nil || m.Room.left() < least.Room.left()) {
			least = &members[i]
		}
	}
	if least == nil {
		return "the servers have no limit"
	}
	return fmt.Sprintf("NATS server %s, which has the least room, may store %s and has %s left", least.Server, bytes(float64(least.Room.Limit)), bytes(float64(least.Room.left())))
}

// left is what may still be stored, in bytes.
func (m Room) left() uint64 { return m.Limit - min(m.Used, m.Limit) }

// writes looks whether the servers write each message through to their disks.
func writes(f Facts, members []Member, r *report) {
	var not []string
	var interval time.Duration
	for _, m := range members {
		if !m.Synced {
			not, interval = append(not, m.Server), max(interval, m.Interval)
		}
	}
	if len(not) == 0 {
		return
	}
	const remedy = "set sync_interval: always in the servers' configuration, as the chart does, and restart them one by one"
	who := fmt.Sprintf("NATS %s %s %s only every %s, after messages were acknowledged", rollout.Verb(len(not), "server", "servers"), strings.Join(not, ", "), rollout.Verb(len(not), "syncs its disk", "sync their disks"), span(interval))
	if alone(f, members) {
		r.fail(remedy, "%s, and the log has 1 replica: a power cut loses what was acknowledged", who)
		return
	}
	r.warn(remedy, "%s: a power cut of all servers at once loses what was acknowledged", who)
}

// alone says whether one disk has the log.
func alone(f Facts, members []Member) bool {
	if l := f.Log; l != nil && l.Replicas > 0 {
		return l.Replicas == 1
	}
	has := 0
	for _, m := range members {
		if slices.ContainsFunc(m.Streams, func(s Stream) bool { return s.Name == eventlog.LogStream }) {
			has++
		}
	}
	return has == 1
}
