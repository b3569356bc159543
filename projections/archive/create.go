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
	"github.com/nats-io/jsm.go/backup"
	natsarc "github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/version"
)

// Parts of the server's snapshot as it comes over the bus, and how much of it
// may be under way.
const (
	snapshotPart   = 256 << 10
	snapshotWindow = 4 << 20
)

// CreateOptions say how a log is archived. The zero value is usable.
type CreateOptions struct {
	Replace bool // a file of the name that is there
	Now     func() time.Time
	// Progress is told how many events came and how many there are. It may be
	// nil.
	Progress func(done, total uint64)
	// Kept is told, when a file in the making is found, how many chunks of the
	// same log are in it. It may be nil.
	Kept func(chunks int)
	// Lost is told that the connection was lost and it begins again. It may be
	// nil.
	Lost func(error)

	open func(string) (disk, error)
}

// Created is what came of archiving.
type Created struct {
	Index
	Kept int // chunks that an earlier run had written, which were not written again
}

// PartialOf is the name of a file in the making.
func PartialOf(file string) string { return file + ".part" }

// Create archives the log into a file. Until it is whole it bears the name of
// PartialOf, and stays there when Create fails: the next run finds what is in it.
// nc is the connection by which it is dialled; it is not used itself.
//
// Errors: ErrExists, ErrBusy, ErrEmpty, ErrLost after a few tries, ErrNotPermitted,
// ErrOldServer, jetstream.ErrStreamNotFound, eventlog.ErrRestoring; those of the
// file system.
func Create(ctx context.Context, nc *nats.Conn, file string, o CreateOptions) (Created, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.open == nil {
		o.open = openDisk
	}
	if _, err := os.Stat(file); err == nil && !o.Replace {
		return Created{}, fmt.Errorf("%s: %w", file, ErrExists)
	}
	c := &creation{options: o, file: file}
	err := repeat(ctx, nc, o.Lost, func(l *conn) error { return c.try(l) })
	if err != nil {
		return Created{}, errors.Join(err, c.abandon())
	}
	return c.done, nil
}

// creation is a file in the making, over all tries.
type creation struct {
	options CreateOptions
	file    string
	part    *partial // nil until there is a log
	done    Created
}

// abandon closes what was written, and takes it away where it is worth nothing.
func (c *creation) abandon() error {
	if c.part == nil {
		return nil
	}
	err := c.part.disk.Close()
	if len(c.part.kept) == 0 {
		err = errors.Join(err, os.Remove(c.part.path))
	}
	return err
}

func (c *creation) try(l *conn) error {
	info, err := logstream.Inspect(l.ctx, l.js)
	if err != nil {
		return err
	}
	if info.Last == 0 || info.Last < info.First {
		return fmt.Errorf("stream %s: %w", eventlog.LogStream, ErrEmpty)
	}
	if c.part == nil {
		if c.part, err = openPartial(PartialOf(c.file), c.options.open); err != nil {
			return err
		}
	}
	kept, err := c.part.begin(head{Format: Format, Product: version.Version, LogID: info.ID})
	if err != nil {
		return err
	}
	if kept > 0 && c.options.Kept != nil {
		c.options.Kept(kept)
	}
	m := Index{Format: Format, Product: version.Version, LogID: info.ID, Created: c.options.Now().UTC().Truncate(time.Second)}
	s := &snapshot{link: l, part: c.part, manifest: &m, progress: c.options.Progress}
	if err := s.take(); err != nil {
		return err
	}
	if err := c.part.finish(&m, s.start, s.end, c.file); err != nil {
		return err
	}
	c.done = Created{Index: m, Kept: s.there}
	c.part = nil
	return nil
}

// snapshot is one pass of the server's snapshot into the file.
type snapshot struct {
	link     *conn
	part     *partial
	manifest *Index
	progress func(done, total uint64)

	packer     *packer
	total      uint64
	start, end []byte
	there      int
	lastTime   time.Time
}

// take asks the server for a snapshot and writes it as it comes.
func (s *snapshot) take() error {
	stream, err := s.link.mgr.LoadStream(eventlog.LogStream)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(s.link.ctx)
	defer stop(nil)
	r, w := io.Pipe()
	defer r.Close()
	alive := &watched{Reader: r, stop: stop}
	alive.timer = time.AfterFunc(idleTimeout, alive.silent)
	defer alive.timer.Stop()

	var meta bytes.Buffer
	sent := make(chan error, 1)
	go func() {
		_, err := stream.SnapshotToBuffer(ctx, w, closer{&meta}, jsm.SnapshotChunkSize(snapshotPart), jsm.SnapshotWindowSize(snapshotWindow))
		_ = w.Close()
		sent <- err
	}()
	err = s.read(alive)
	if err == nil {
		_, err = io.Copy(io.Discard, alive) // what the format has after its end
	}
	if err != nil && !errors.Is(err, ErrLost) {
		return err // and the sender ends with the context
	}
	_ = r.CloseWithError(err)
	if err := s.outcome(ctx, <-sent, err); err != nil {
		return err
	}
	var m struct{ Config, State json.RawMessage }
	if err := json.Unmarshal(meta.Bytes(), &m); err != nil {
		return fmt.Errorf("what the server says of the snapshot: %w", err)
	}
	s.manifest.Config = m.Config
	return s.sameLog(m.Config)
}

// outcome says how a snapshot went, by what its sender and its reader say.
func (s *snapshot) outcome(ctx context.Context, sent, read error) error {
	var refused api.ApiError
	switch {
	case errors.As(sent, &refused):
		return fmt.Errorf("snapshot of stream %s: %w", eventlog.LogStream, sent)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrLost):
		return context.Cause(ctx)
	case sent != nil:
		return fmt.Errorf("%w: snapshot: %w", ErrLost, sent)
	}
	return read
}

// sameLog makes sure that the log was not replaced between two questions.
func (s *snapshot) sameLog(config json.RawMessage) error {
	var c jetstream.StreamConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return fmt.Errorf("what the server says of the snapshot: %w", err)
	}
	info, err := logstream.Inspect(s.link.ctx, s.link.js)
	if err != nil {
		return err
	}
	if info.ID != s.manifest.LogID || logstream.RestoringArchive(c) != "" {
		return fmt.Errorf("%w: the log was replaced by another meanwhile", ErrLost)
	}
	return nil
}

// read takes the snapshot apart and puts it into chunks.
func (s *snapshot) read(r io.Reader) error {
	s.packer = newPacker()
	d := backup.NewDecoder(r)
	for {
		item, err := d.Next()
		if errors.Is(err, backup.ErrNotV2Backup) && errors.Is(err, natsarc.ErrInvalidArchive) {
			return fmt.Errorf("%w (%w)", ErrOldServer, err)
		}
		if err != nil {
			return fmt.Errorf("%w: the snapshot ends after event %d: %w", ErrLost, s.manifest.Last.Sequence, err)
		}
		switch it := item.(type) {
		case *backup.State:
			err = s.begin(it)
		case *backup.Message:
			err = s.message(it)
		case backup.End:
			return s.finish()
		}
		if err != nil {
			return err
		}
	}
}

func (s *snapshot) begin(st *backup.State) (err error) {
	s.total = st.State.Msgs
	st.State.Consumers = 0
	if s.manifest.State, err = json.Marshal(st.State); err != nil {
		return err
	}
	s.start, err = s.packer.begin(s.manifest.State, s.manifest.Created)
	return err
}

func (s *snapshot) message(it *backup.Message) error {
	body := make([]byte, it.HdrSize+it.PayloadSize)
	if _, err := io.ReadFull(it.Body, body); err != nil {
		return fmt.Errorf("%w: event %d: %w", ErrLost, it.Seq, err)
	}
	m := message{subject: it.Subject, sequence: it.Seq, nanos: it.Ts, header: body[:it.HdrSize:it.HdrSize], data: body[it.HdrSize:]}
	e, _ := m.event() // a foreign message is archived as any other
	if err := s.manifest.observe(e, m.size()); err != nil {
		return err
	}
	s.lastTime = e.Recorded
	full, err := s.packer.add(m)
	if err != nil {
		return err
	}
	if full {
		return s.cut()
	}
	return nil
}

func (s *snapshot) cut() error {
	first, last := s.packer.first, s.packer.last
	b, err := s.packer.cut()
	if err != nil {
		return err
	}
	there, err := s.part.put(b, first, last, s.lastTime)
	if there {
		s.there++
	}
	if s.progress != nil {
		s.progress(s.manifest.Messages, s.total)
	}
	return err
}

func (s *snapshot) finish() (err error) {
	if s.manifest.Messages == 0 {
		return ErrEmpty
	}
	if s.manifest.Messages != s.total {
		return fmt.Errorf("%w: %d events came of %d", ErrLost, s.manifest.Messages, s.total)
	}
	if s.packer.first > 0 {
		if err := s.cut(); err != nil {
			return err
		}
	}
	s.end, err = s.packer.end()
	return err
}

// closer is a buffer that takes being closed.
type closer struct{ *bytes.Buffer }

func (closer) Close() error { return nil }

// watched notices that nothing comes any more.
type watched struct {
	io.Reader
	stop  context.CancelCauseFunc
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.timer.Reset(idleTimeout)
	return n, err
}

func (w *watched) silent() { w.stop(fmt.Errorf("%w: nothing came for %s", ErrLost, idleTimeout)) }
