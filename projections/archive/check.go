package archive

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"fleet.nationtech.io/eventlog"
)

// CheckOptions say how a file is looked at. The zero value is usable.
type CheckOptions struct {
	// Events is told of every event, in order, with the error that decoding it
	// gave (ErrForeign); what it returns ends the check. It may be nil.
	Events func(eventlog.Event, error) error
	// Progress is told how many bytes were read and how many there are. It may
	// be nil.
	Progress func(done, total uint64)
}

// Check reads a file to its end and makes sure that it is as it was written:
// every byte of it, every chunk, and that the messages in it are those that the
// manifest speaks of. It needs no server.
//
// Errors: ErrNotArchive, ErrNewer; ErrDamaged, as a Damage that says where;
// those of the file system and of Events.
func Check(ctx context.Context, file string, o CheckOptions) (Index, error) {
	f, err := os.Open(file)
	if err != nil {
		return Index{}, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return Index{}, err
	}
	c := &check{
		ctx: ctx, file: file, size: stat.Size(), options: o,
		scan: newScanner(bufio.NewReaderSize(f, 1<<20)),
	}
	return c.run()
}

// check is one reading of a file.
type check struct {
	ctx     context.Context
	file    string
	size    int64
	options CheckOptions
	scan    *scanner

	seen       Index // what was found
	head       head
	start, end []byte
	failure    error // of Events
}

func (c *check) run() (Index, error) {
	if err := c.readHead(); err != nil {
		return Index{}, err
	}
	backup, err := c.readLog()
	if err != nil {
		return Index{}, err
	}
	return c.readRest(backup)
}

func (c *check) damage(at int64, part string, err error) error {
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if cut {
		at, err = c.size, errors.New("the rest is missing")
	}
	return &Damage{File: c.file, Offset: at, Part: part, After: c.seen.Last.Sequence, Cut: cut, Err: err}
}

func (c *check) readHead() error {
	name, content, at, err := c.scan.next(maxJSON)
	if c.size == 0 || name != nameHead {
		return fmt.Errorf("%s: %w", c.file, ErrNotArchive)
	}
	if err == nil {
		err = json.Unmarshal(content, &c.head)
	}
	if err != nil {
		return c.damage(at, nameHead, err)
	}
	if c.head.Format > Format {
		return fmt.Errorf("%s: format %d, this version reads up to %d: %w", c.file, c.head.Format, Format, ErrNewer)
	}
	return nil
}

// readLog reads the chunks, and gives what stands after them.
func (c *check) readLog() (backup []byte, err error) {
	for {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		before := padded(c.scan.count.n)
		name, content, at, err := c.scan.next(maxChunk)
		part := c.part(name)
		if err != nil {
			return nil, c.damage(before, part, err)
		}
		if c.options.Progress != nil {
			c.options.Progress(uint64(c.scan.count.n), uint64(c.size))
		}
		if name == nameBackup {
			return content, nil
		}
		number, sum, ok := parseChunk(name)
		if !ok {
			return nil, c.damage(before, part, errStrange)
		}
		if sumOf(content) != sum {
			return nil, c.damage(at, part, errors.New("its SHA-256 is not the one in its name"))
		}
		place := span{at, int64(len(content))}
		switch {
		case number == firstChunk && c.start == nil && len(c.seen.Chunks) > 0:
			c.start, c.seen.start = content, place
		case number == lastChunk && c.start != nil && c.end == nil:
			c.end, c.seen.end = content, place
		case number == len(c.seen.Chunks)+1 && c.start == nil:
			if err := c.readChunk(content, part, at, sum); err != nil {
				return nil, err
			}
		default:
			return nil, c.damage(before, part, errors.New("chunk out of order"))
		}
	}
}

// part names what is being read, for a person.
func (c *check) part(name string) string {
	if number, _, ok := parseChunk(name); ok {
		return fmt.Sprintf("%s%08d", dirLog, number)
	}
	if name == nameBackup || name == nameManifest || name == nameSum {
		return name
	}
	if len(c.seen.Chunks) == 0 {
		return "what follows " + nameHead
	}
	return fmt.Sprintf("what follows %s%08d", dirLog, len(c.seen.Chunks))
}

func (c *check) readChunk(content []byte, part string, at int64, sum string) error {
	chunk := Chunk{Offset: at, Size: int64(len(content)), SHA256: sum}
	err := unpack(content, func(m message) error {
		e, foreign := m.event()
		if err := c.seen.observe(e, m.size()); err != nil {
			return err
		}
		if chunk.First == 0 {
			chunk.First = m.sequence
		}
		chunk.Last = m.sequence
		if c.options.Events != nil {
			c.failure = c.options.Events(e, foreign)
		}
		return c.failure
	})
	switch {
	case c.failure != nil:
		return c.failure
	case err != nil:
		return c.damage(at, part, noEnd(err))
	case chunk.First == 0:
		return c.damage(at, part, errors.New("it is empty"))
	}
	c.seen.Chunks = append(c.seen.Chunks, chunk)
	return nil
}

// noEnd keeps an end within a chunk from being taken for the file's.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("its content ends too soon")
	}
	return err
}

// readRest holds what was found against the manifest, and the whole file against
// its sum.
func (c *check) readRest(backup []byte) (m Index, err error) {
	at := padded(c.scan.count.n)
	name, content, offset, err := c.scan.next(maxJSON)
	if err == nil && name != nameManifest {
		err = errStrange
	}
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	if err != nil {
		return m, c.damage(at, nameManifest, err)
	}
	if err := c.agrees(m, backup); err != nil {
		return m, c.damage(offset, nameManifest, err)
	}
	m.ID, err = c.scan.sumUpTo(offset + padded(int64(len(content))))
	if err != nil {
		return m, c.damage(offset, nameManifest, err)
	}
	m.Size, m.start, m.end, m.seals = c.size, c.seen.start, c.seen.end, c.seen.seals
	return m, c.readEnd(m)
}

// readEnd compares what stands after the manifest with what must.
func (c *check) readEnd(m Index) error {
	want, err := ending(m)
	if err != nil {
		return err
	}
	at := c.scan.count.n
	got, err := io.ReadAll(io.LimitReader(c.scan.count, int64(len(want))+1))
	if err != nil {
		return err
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return c.damage(at+int64(i), "the whole", fmt.Errorf("its SHA-256 is %s, and it ends otherwise", m.ID))
		}
	}
	switch {
	case len(got) < len(want):
		return c.damage(c.size, nameSum, io.ErrUnexpectedEOF)
	case len(got) > len(want):
		return c.damage(at+int64(len(want)), "what follows its end", errAfterEnd)
	}
	return nil
}

// ending is what stands after the manifest: the sum, and the end of a tar file.
func ending(m Index) ([]byte, error) {
	b, err := entry(nameSum, []byte(m.ID+"\n"), m.Created)
	return append(b, make([]byte, tail)...), err
}

func (c *check) agrees(m Index, backup []byte) error {
	if c.end == nil {
		return errors.New("the end mark of the log is missing")
	}
	state, err := edges(c.start, c.end)
	if err != nil {
		return fmt.Errorf("the ends of the log: %w", noEnd(err))
	}
	if !sameJSON(state, m.State) {
		return errors.New("the stream's state is another than the log's")
	}
	var meta struct{ Config, State json.RawMessage }
	if err := json.Unmarshal(backup, &meta); err != nil {
		return fmt.Errorf("%s: %w", nameBackup, err)
	}
	if !sameJSON(meta.Config, m.Config) || !sameJSON(meta.State, m.State) {
		return fmt.Errorf("%s is of another log", nameBackup)
	}
	for what, pair := range map[string][2]any{
		"format": {c.head.Format, m.Format}, "product": {c.head.Product, m.Product}, "log id": {c.head.LogID, m.LogID},
		"first event": {c.seen.First, m.First}, "last event": {c.seen.Last, m.Last}, "number of events": {c.seen.Messages, m.Messages},
		"bytes": {c.seen.Bytes, m.Bytes}, "last seal": {c.seen.Seal, m.Seal}, "chunks": {c.seen.Chunks, m.Chunks},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			return fmt.Errorf("the %s: found %v, the manifest says %v", what, pair[0], pair[1])
		}
	}
	return nil
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
