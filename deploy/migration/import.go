package migration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/projections/buckets"
)

// Errors of an import.
var (
	// ErrOperatorRuns says that an operator was elected during the import.
	ErrOperatorRuns = errors.New("an operator was elected meanwhile")
	// ErrRefused says that entries are refused, and none was to be.
	ErrRefused = errors.New("entries are refused")
)

// Step is what an import is at.
type Step string

// The steps, in their order.
const (
	StepLog    Step = "reading the event log"
	StepAppend Step = "appending"
	StepVerify Step = "comparing the buckets"
)

// RunOptions say how an import is carried out.
type RunOptions struct {
	Options
	Identity string // who is elected as the log's writer
	Replicas int    // of the log and the buckets, where they are made; 0 means 1
	Strict   bool   // append nothing where an entry is refused
	DryRun   bool   // append nothing
	// Progress is told how much of a step is done. It may be nil.
	Progress func(step Step, done, total uint64)
	// Elected is told the sequence of each election. It may be nil.
	Elected func(token uint64)
}

// Difference is a key of the log's bucket that is not as it was imported.
type Difference struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	What   string `json:"what"`
}

// Report is what came of an import.
type Report struct {
	Plan
	LogID       string
	DryRun      bool
	Appended    int // events, in this run
	Differences []Difference
}

const (
	attempts   = 5    // elections, where answers to appends are lost
	chunk      = 1000 // events that are appended between two words of progress
	waitBucket = 5 * time.Minute
)

// Import appends to the log what a source holds and the log does not, and compares
// the log's buckets with the source. The one who imports is elected as the log's
// writer, so that no operator and no other import appends at the same time: the one
// that was elected first is refused by the server. It can be run again whatever cut it
// short, and then does what is left.
//
// Errors: ErrPlainBuckets, ErrOperatorRuns, ErrRefused with Strict; those of
// the appender; the server's. The report tells what came before an error.
func Import(ctx context.Context, source Source, nc *nats.Conn, js jetstream.JetStream, o RunOptions) (Report, error) {
	r := &run{source: source, nc: nc, js: js, o: o}
	r.out.DryRun = o.DryRun
	if err := checkBuckets(ctx, js); err != nil {
		return r.out, err
	}
	if err := r.plan(ctx, 0); err != nil || o.DryRun {
		return r.out, err
	}
	if err := r.prepare(ctx); err != nil {
		return r.out, err
	}
	err := r.append(ctx)
	if err == nil {
		err = r.verify(ctx)
	}
	return r.out, err
}

// run is one import.
type run struct {
	source Source
	nc     *nats.Conn
	js     jetstream.JetStream
	o      RunOptions
	out    Report
}

func (r *run) progress(s Step) func(done, total uint64) {
	return func(done, total uint64) {
		if r.o.Progress != nil {
			r.o.Progress(s, done, total)
		}
	}
}

// plan reads the log up to a sequence (0: to its end) and says what it lacks.
func (r *run) plan(ctx context.Context, until uint64) error {
	target, err := readTarget(ctx, r.js, until, r.progress(StepLog))
	if err != nil {
		return err
	}
	r.out.Plan = NewPlan(r.source, target, r.o.Options)
	if r.o.Strict && len(r.out.Refused) > 0 {
		return fmt.Errorf("%w: %d", ErrRefused, len(r.out.Refused))
	}
	return nil
}

// prepare makes the log and the buckets where they are not there.
func (r *run) prepare(ctx context.Context) error {
	info, err := logstream.Inspect(ctx, r.js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		info, err = logstream.Ensure(ctx, r.js, logstream.Config{Replicas: r.o.Replicas})
	}
	if err != nil {
		return err
	}
	r.out.LogID = info.ID
	_, err = buckets.Ensure(ctx, r.js, buckets.Config{Replicas: info.Replicas})
	return err
}

// append brings into the log what it lacks. Where an answer was lost nobody knows what
// the log took: then it is read again.
func (r *run) append(ctx context.Context) error {
	ids := &queue{}
	a, err := appender.New(r.nc, appender.Options{Source: EventSource, NewID: ids.next})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		err := r.attempt(ctx, a, ids)
		switch {
		case err == nil || n == attempts || ctx.Err() != nil:
			return err
		case errors.Is(err, appender.ErrDeposed):
			return fmt.Errorf("%w: %w", ErrOperatorRuns, err)
		case !errors.Is(err, appender.ErrUncertain):
			return err
		}
		t := time.NewTimer(time.Duration(n) * time.Second)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (r *run) attempt(ctx context.Context, a *appender.Appender, ids *queue) error {
	if len(r.out.Events) == 0 && len(r.out.Pulses) == 0 {
		return nil // nobody need be elected
	}
	owner, err := r.cluster(ctx)
	if err != nil {
		return err
	}
	ids.put(nil)
	token, err := a.Elect(ctx, eventlog.Leader{Identity: r.o.Identity, ClusterUID: owner, Version: version.Version}, r.o.Now)
	if err != nil {
		return err
	}
	if r.o.Elected != nil {
		r.o.Elected(token)
	}
	if err := r.plan(ctx, token); err != nil {
		return err
	}
	progress := r.progress(StepAppend)
	total := len(r.out.Events) + len(r.out.Pulses)
	for done := 0; done < len(r.out.Events); done += chunk {
		progress(uint64(done), uint64(total))
		part := r.out.Events[done:min(done+chunk, len(r.out.Events))]
		drafts := make([]eventlog.Draft, len(part))
		for i, e := range part {
			drafts[i] = e.Draft
		}
		ids.put(part)
		if _, err := a.Append(ctx, drafts); err != nil {
			return err
		}
		r.out.Appended += len(part)
	}
	for i, p := range r.out.Pulses {
		m := nats.NewMsg(p.Subject)
		m.Data = p.Data
		m.Header.Set(eventlog.HeaderSource, EventSource)
		m.Header.Set(eventlog.HeaderCausationID, p.Cause)
		if _, err := r.js.PublishMsg(ctx, m); err != nil {
			return fmt.Errorf("the heartbeat %s: %w", p.Cause, err)
		}
		progress(uint64(len(r.out.Events)+i), uint64(total))
	}
	return nil
}

// cluster is the Kubernetes cluster that the log belongs to; empty while it belongs to
// none, and the first operator that is elected takes it.
func (r *run) cluster(ctx context.Context) (string, error) {
	m, err := reader.LastMessage(ctx, r.js, eventlog.LogStream, eventlog.LeaderSubject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("last election: %w", err)
	}
	e, err := eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
	if err != nil {
		return "", fmt.Errorf("last election: %w", err)
	}
	l, err := eventlog.Payload[eventlog.Leader](e)
	return l.ClusterUID, err
}

// verify compares the log's buckets with what they should hold by now.
func (r *run) verify(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, waitBucket)
	defer stop()
	info, err := logstream.Inspect(ctx, r.js)
	if err != nil {
		return err
	}
	progress := r.progress(StepVerify)
	all := eventlog.Buckets()
	for i, b := range all {
		progress(uint64(i), uint64(len(all)))
		upTo := info.Last
		if s := eventlog.ProjectionOf(b).Stream; s != eventlog.LogStream {
			pulses, err := r.js.Stream(ctx, s)
			if err != nil {
				return fmt.Errorf("stream %s: %w", s, err)
			}
			upTo = pulses.CachedInfo().State.LastSeq
		}
		if err := buckets.WaitFor(ctx, r.js, b, upTo); err != nil {
			return err
		}
		has, err := contents(ctx, r.js, b)
		if err != nil {
			return err
		}
		r.out.compare(b, has)
		if err := r.forgive(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// forgive takes the differences back that devices made, by reporting to the log
// themselves after it was read.
func (r *run) forgive(ctx context.Context, bucket string) error {
	if bucket == eventlog.BucketDesired {
		return nil
	}
	var kept []Difference
	for _, d := range r.out.Differences {
		if d.Bucket != bucket {
			kept = append(kept, d)
			continue
		}
		subject, err := eventlog.SubjectOfKey(bucket, d.Key)
		if err != nil {
			return err
		}
		m, err := reader.LastMessage(ctx, r.js, eventlog.ProjectionOf(bucket).Stream, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			kept = append(kept, d)
		case err != nil:
			return fmt.Errorf("last message of %s: %w", subject, err)
		case eventlog.HeaderValue(m.Header, eventlog.HeaderSource) == EventSource:
			kept = append(kept, d)
		default:
			r.out.Counts[bucket].Kept++
		}
	}
	r.out.Differences = kept
	return nil
}

// queue gives the ids of the events that are being appended, in their order.
type queue struct{ rest []Event }

func (q *queue) put(events []Event) { q.rest = events }

// next gives the next event's id; an election's is made as any other's.
func (q *queue) next() string {
	if len(q.rest) == 0 {
		return newID()
	}
	e := q.rest[0]
	q.rest = q.rest[1:]
	return e.ID
}
