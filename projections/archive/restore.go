package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/buckets"
)

// restoreBlock is how much of the log is sent at once; the server acknowledges
// each part.
const restoreBlock = 512 << 10

// Step is what a restore is at.
type Step string

// The steps, in their order.
const (
	StepCheck   Step = "checking the file"
	StepSend    Step = "sending the log"
	StepBuckets Step = "building the buckets"
)

// RestoreOptions say how an archive is restored. The zero value is usable.
type RestoreOptions struct {
	Replicas int // of the log and the buckets: 1 for development, 3 in production; 0 means 1
	// Progress is told how much of a step is done and how much there is. It may
	// be nil.
	Progress func(step Step, done, total uint64)
	// Lost is told that the connection was lost and what was under way begins
	// again. It may be nil.
	Lost func(error)
}

// Outcome is what came of a restore.
type Outcome struct {
	Index
	Log logstream.Info // as it is now, with an id of its own
	// Resumed says that an earlier run had been cut short.
	Resumed bool
}

// Restore puts an archive into a server that has no log: the same messages at the
// same sequences with the same times, in a log with an id of its own; and its
// buckets, built from it. It can be run again whatever cut it short, and then does
// what is left: a log that is not whole is thrown away first, and nobody can have
// appended to it. nc is the connection by which it is dialled; it is not used
// itself.
//
// Errors: those of Check, before the server is touched; ErrLogThere, ErrGoneOn,
// ErrBucketsThere; ErrLost after a few tries; ErrNotPermitted.
func Restore(ctx context.Context, nc *nats.Conn, file string, o RestoreOptions) (Outcome, error) {
	r := &restore{file: file, options: o}
	var err error
	r.out.Index, err = Check(ctx, file, CheckOptions{Progress: r.progress(StepCheck)})
	if err != nil {
		return Outcome{}, err
	}
	if err := repeat(ctx, nc, o.Lost, r.try); err != nil {
		return Outcome{}, err
	}
	return r.out, nil
}

// restore is one, over all tries.
type restore struct {
	file    string
	options RestoreOptions
	out     Outcome
}

func (r *restore) progress(s Step) func(done, total uint64) {
	return func(done, total uint64) {
		if r.options.Progress != nil {
			r.options.Progress(s, done, total)
		}
	}
}

// try goes on from where the server has come.
func (r *restore) try(l *conn) error {
	at, err := survey(l.ctx, l.js, r.out.Index)
	if err != nil {
		return err
	}
	r.out.Resumed = r.out.Resumed || at != empty
	if at == empty || at == half {
		if err := r.fill(l); err != nil {
			return err
		}
		at = whole
	}
	if at == whole {
		if err := adopted(l); err != nil {
			return err
		}
		m := r.out.Index
		_, err := logstream.FinishRestore(l.ctx, l.js, logstream.Restored{Archive: m.ID, From: m.LogID, Sequence: m.Last.Sequence})
		if err != nil {
			return err
		}
	}
	if err := r.build(l); err != nil {
		return err
	}
	r.out.Log, err = logstream.Inspect(l.ctx, l.js)
	return err
}

// How often an operator may come in between, since one that runs makes an empty
// log as soon as there is none; and how often that may end in half a log.
const (
	snatches  = 20
	maxHalves = 2
)

// fill makes the stream again from the archive.
func (r *restore) fill(l *conn) error {
	if err := sweep(l.ctx, l.js); err != nil {
		return err
	}
	halves := 0
	for n := 1; ; n++ {
		err := r.replace(l)
		if err == nil {
			break
		}
		if n == snatches || errors.Is(l.cause(err), ErrLost) || l.ctx.Err() != nil {
			return err
		}
		// Where another came in between there is none or an empty log now. Half a
		// log can be that too; or the server has a reason, which it will have again.
		at, why := survey(l.ctx, l.js, r.out.Index)
		if at == half {
			halves++
		}
		if why != nil || at != empty && at != half || halves > maxHalves {
			return errors.Join(err, why)
		}
		t := time.NewTimer(time.Duration(n) * 5 * time.Millisecond)
		select {
		case <-t.C:
		case <-l.ctx.Done():
			t.Stop()
			return err
		}
	}
	s, err := l.js.Stream(l.ctx, eventlog.LogStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	if err := holds(s.CachedInfo().State, r.out.Index); err != nil {
		return fmt.Errorf("the server did not restore what was sent: %w", err)
	}
	return nil
}

func (r *restore) replace(l *conn) error {
	if err := l.js.DeleteStream(l.ctx, eventlog.LogStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove stream %s: %w", eventlog.LogStream, err)
	}
	return r.send(l)
}

// send is the server's own restore.
func (r *restore) send(l *conn) error {
	config, err := translate(logstream.Restoring(r.options.Replicas, r.out.ID))
	if err != nil {
		return err
	}
	f, err := os.Open(r.file)
	if err != nil {
		return err
	}
	defer f.Close()
	meta, err := json.Marshal(map[string]json.RawMessage{"config": r.out.Config, "state": r.out.State})
	if err != nil {
		return err
	}
	_, err = l.mgr.RestoreSnapshotFromBuffer(l.ctx, eventlog.LogStream, r.snapshot(f), io.NopCloser(bytes.NewReader(meta)),
		jsm.SnapshotChunkSize(restoreBlock), jsm.RestoreConfiguration(config))
	if err != nil {
		return fmt.Errorf("restore stream %s: %w", eventlog.LogStream, err)
	}
	return nil
}

// snapshot puts the chunks together as the server once sent them.
func (r *restore) snapshot(f *os.File) io.ReadCloser {
	spans := []span{r.out.start}
	for _, c := range r.out.Chunks {
		spans = append(spans, span{c.Offset, c.Size})
	}
	spans = append(spans, r.out.end)
	var total uint64
	parts := make([]io.Reader, len(spans))
	for i, s := range spans {
		total += uint64(s.size)
		parts[i] = io.NewSectionReader(f, s.offset, s.size)
	}
	return &sending{r: io.MultiReader(parts...), total: total, report: r.progress(StepSend)}
}

// sending tells how much was sent.
type sending struct {
	r           io.Reader
	done, total uint64
	report      func(done, total uint64)
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := io.ReadFull(s.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the last part
	}
	s.done += uint64(n)
	s.report(s.done, s.total)
	return n, err
}

func (*sending) Close() error { return nil }

// translate says a configuration in the words of the library that restores.
func translate(c jetstream.StreamConfig) (api.StreamConfig, error) {
	var out api.StreamConfig
	b, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("configuration of stream %s: %w", eventlog.LogStream, err)
	}
	return out, nil
}

// How long servers may take to make a stream theirs that was restored, and how often they are asked.
const (
	adoption   = time.Minute
	adoptEvery = 50 * time.Millisecond
)

// adopted waits until the servers have made the stream theirs. The one to which it was sent answers
// before that, and names no other replica until then. It would not keep a change that comes in between.
func adopted(l *conn) error {
	ctx, cancel := context.WithTimeout(l.ctx, adoption)
	defer cancel()
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	for {
		s, err := l.js.Stream(ctx, eventlog.LogStream)
		if err != nil {
			return fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
		}
		is := s.CachedInfo()
		if is.Cluster == nil || len(is.Cluster.Replicas) >= is.Config.Replicas-1 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the servers did not make the restored stream %s theirs: %w", eventlog.LogStream, ctx.Err())
		}
	}
}

// build makes the buckets from the log. What an earlier run built, or an
// operator, is taken as it is.
func (r *restore) build(l *conn) error {
	progress := r.progress(StepBuckets)
	n := uint64(len(eventlog.Buckets()))
	progress(0, n)
	if _, err := buckets.Ensure(l.ctx, l.js, buckets.Config{Replicas: r.options.Replicas}); err != nil {
		return err
	}
	progress(n, n)
	return nil
}
