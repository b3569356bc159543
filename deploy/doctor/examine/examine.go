// Package examine gathers the facts that doctor judges: from the NATS servers with the
// rights of whoever asks, and from Kubernetes.
package examine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
	"fleet.nationtech.io/projections/fleet"
)

// Servers are the NATS servers as somebody is connected to them.
type Servers struct {
	Conn *nats.Conn
	JS   jetstream.JetStream
	// User and Account are whose the connection is, TokenEnds when the servers end it.
	User, Account string
	TokenEnds     time.Time
	// View gives the fleet as the log has it.
	View func(context.Context) (*fleet.View, error)
	Now  func() time.Time
}

// patience is how long one question to the servers may take.
const patience = 10 * time.Second

// Look gathers what the servers tell. What they do not tell to this user is left out, with
// the reason. It fails where the context ends.
func (s Servers) Look(ctx context.Context) (doctor.Facts, error) {
	l := look{Servers: s, Facts: doctor.Facts{At: s.Now(), Version: version.Version, LeftOut: map[string]string{}}}
	l.server()
	if l.own(ctx) {
		return l.Facts, ctx.Err()
	}
	info := l.log(ctx)
	if info != nil {
		l.connected(ctx)
		l.streams(ctx)
		l.account(ctx)
		l.growth(ctx)
		l.buckets(ctx)
		l.view(ctx)
		l.pulses(ctx)
		l.seal(ctx)
		l.checkpoints(ctx)
		l.operatorClock(ctx)
		l.fold(ctx)
	} else {
		l.leaveOut("there is no log that can be read", checksOfTheLog()...)
	}
	return l.Facts, ctx.Err()
}

// own looks at what the servers say in their own account; false where the user is of another.
// There is no log there, nor what is kept in one.
func (l *look) own(ctx context.Context) bool {
	switch l.Account {
	case eventlog.AccountPeople, eventlog.AccountFleet, eventlog.AccountDevices:
		return false
	}
	members, err := l.members(ctx)
	if err != nil || len(members) == 0 {
		return false
	}
	l.Members, l.Server.Account = members, eventlog.AccountSystem
	for _, m := range members {
		l.Server.Names = append(l.Server.Names, m.Server)
		if m.Server == l.Conn.ConnectedServerName() {
			l.Server.Timed, l.Server.Timekeeper, l.Server.Ahead, l.Server.Blur = true, m.Server, m.Ahead, m.Blur
		}
	}
	l.leaveOut("the servers' own account has no event log: ask as a viewer, an operator or an admin, too", append(checksOfTheLog(), doctor.CheckLog, doctor.CheckDisk)...)
	return true
}

// checksOfTheLog are those that read what is in the event log, or beside it.
func checksOfTheLog() []string {
	return []string{
		doctor.CheckBuckets, doctor.CheckOperator, doctor.CheckPulses, doctor.CheckVersions, doctor.CheckKeys, doctor.CheckSeals, doctor.CheckCheckpoints,
	}
}

// leaveOut notes why some checks are not made.
func (l *look) leaveOut(why string, checks ...string) {
	for _, check := range checks {
		l.LeftOut[check] = why
	}
}

// look is a look that goes on.
type look struct {
	Servers
	doctor.Facts
	stream logstream.Info
	fleet  *fleet.View
}

// without notes that a check cannot be made.
func (l *look) without(check string, err error) { l.LeftOut[check] = l.why(err) }

// why says why the servers do not tell something.
func (l *look) why(err error) string {
	switch {
	case errors.Is(err, context.Canceled): // what is refused ends whoever waits for it
		return fmt.Sprintf("the servers refuse it to user %q", l.User)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return fmt.Sprintf("the servers do not answer user %q about it: %v", l.User, err)
	}
	return err.Error()
}

// asking bounds one question.
func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}

// server looks at the connection.
func (l *look) server() {
	s := &doctor.Server{URL: l.Conn.ConnectedUrlRedacted(), User: l.User, Account: l.Account, Members: len(l.Conn.Servers()), TokenEnds: l.TokenEnds}
	l.Server = s
	s.RoundTrip = shortest(l.Conn.RTT)
	if t, err := l.Conn.TLSConnectionState(); err == nil && len(t.PeerCertificates) > 0 {
		s.Certificate = &attention.Certificate{Begins: t.PeerCertificates[0].NotBefore, Ends: t.PeerCertificates[0].NotAfter}
	}
}

// pings is how often a server is asked how far it is.
const pings = 3

// shortest is the shortest of some round trips: a machine that was busy for a moment says
// nothing of the network. It is 0 where the first is not answered, which takes long, or
// none of them is.
func shortest(ping func() (time.Duration, error)) time.Duration {
	var least time.Duration
	for n := range pings {
		rtt, err := ping()
		switch {
		case err != nil && n == 0:
			return 0
		case err != nil:
		case least == 0 || rtt < least:
			least = max(rtt, 1) // a clock may not tell them apart
		}
	}
	return least
}

// log looks at the stream FLEET; nil where nothing more can be known.
func (l *look) log(ctx context.Context) *logstream.Info {
	ctx, cancel := asking(ctx)
	defer cancel()
	l.Log = &doctor.Log{}
	asked := l.Now()
	stream, err := l.JS.Stream(ctx, eventlog.LogStream)
	if err == nil {
		answered := l.Now()
		info := stream.CachedInfo()
		if l.stream, err = logstream.Inspect(ctx, l.JS); err == nil {
			keeper := l.Conn.ConnectedServerName()
			if c := info.Cluster; c != nil && c.Leader != "" {
				keeper = c.Leader
			}
			l.clock(keeper, asked, answered, info.TimeStamp)
			l.Log = logFacts(info, l.stream)
			return &l.stream
		}
	}
	var t doctor.Trouble
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		t = doctor.Trouble{Message: "these servers have no event log yet", Remedy: "start an operator: it makes the log; for a local fleet: fleet-dev up"}
	case errors.Is(err, logstream.ErrRestoring):
		t = doctor.Trouble{Message: "the log is being restored from an archive, or a restore was cut short", Remedy: "wait for it, or run fleetctl restore again: docs/recovery.md"}
	case errors.Is(err, context.Canceled), errors.Is(err, nats.ErrPermissionViolation):
		t = doctor.Trouble{Message: fmt.Sprintf("the servers refuse the event log to user %q", l.User), Remedy: "the user of a viewer, an operator or an admin, by fleetctl login or --user"}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		t = doctor.Trouble{
			Message: fmt.Sprintf("no JetStream answers user %q: the servers run without it, or the user's account has none", l.User),
			Remedy:  "run the servers with JetStream, as docs/kubernetes.md does; or the user of a viewer, an operator or an admin, by fleetctl login or --user",
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		t = doctor.Trouble{Message: fmt.Sprintf("the servers do not answer about the event log within %s: no server leads JetStream, or user %q may not ask", patience, l.User), Remedy: "look at the servers: nats server check jetstream; and at your rights: fleetctl whoami"}
	default:
		t = doctor.Trouble{Message: fmt.Sprintf("the event log cannot be read: %v", err), Remedy: "look at the NATS servers' log"}
	}
	l.Log.Trouble = &t
	return nil
}

func logFacts(info *jetstream.StreamInfo, log logstream.Info) *doctor.Log {
	l := &doctor.Log{
		ID: log.ID, Last: log.Last, Bytes: log.Bytes, MaxBytes: log.MaxBytes, Size: log.Size, Replicas: log.Replicas, Leader: true, Missing: logstream.Missing(info.State),
	}
	l.Faults, l.Permanent = logstream.Faults(info.Config)
	if c := info.Cluster; c != nil {
		l.Cluster = c.Name
	}
	if c := info.Cluster; c != nil && info.Config.Replicas > 1 {
		l.Leader = c.Leader != ""
		for _, r := range c.Replicas {
			if r.Offline || !r.Current {
				l.Behind = append(l.Behind, r.Name)
			}
		}
	}
	return l
}

// clock compares the clocks: the server that leads the log said its time between two moments of
// this machine.
func (l *look) clock(keeper string, asked, answered, said time.Time) {
	if said.IsZero() {
		return
	}
	l.Server.Timed, l.Server.Timekeeper = true, keeper
	l.Server.Ahead, l.Server.Blur = present.Ahead(asked, answered, said)
}

// growthSpan is how far back the rate at which the log grows is looked at.
const growthSpan = 24 * time.Hour

// growth finds out how fast the log grew lately.
func (l *look) growth(ctx context.Context) {
	if l.stream.Last <= l.stream.First {
		return
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	now := l.Now().Add(l.Server.Ahead)
	since, from, err := l.recordedSince(ctx, now.Add(-growthSpan))
	if err != nil {
		l.GrowthUnread = l.why(err)
		return
	}
	l.Growth = growth(l.stream, since, from, now)
}

// growth is how much a log grew until now: since the first event of the last growthSpan. A log
// that is older had no event for the rest of that.
func growth(log logstream.Info, since time.Time, from uint64, now time.Time) *doctor.Growth {
	each := float64(log.Bytes) / float64(log.Last-log.First+1)
	in := now.Sub(since)
	if from > log.First {
		in = max(in, growthSpan)
	}
	return &doctor.Growth{Bytes: each * float64(log.Last-from+1), In: in}
}

// recordedSince gives the first event from a time on, and when it was recorded.
func (l *look) recordedSince(ctx context.Context, at time.Time) (time.Time, uint64, error) {
	low, high := l.stream.First, l.stream.Last
	var when time.Time
	for {
		middle := low + (high-low)/2
		m, err := reader.MessageAt(ctx, l.JS, eventlog.LogStream, middle)
		if err != nil {
			return when, 0, err
		}
		when = m.Time
		if low == high {
			return when, low, nil
		}
		if m.Time.Before(at) {
			low = middle + 1
		} else {
			high = middle
		}
	}
}
