package fleet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"fleet.nationtech.io/eventlog"
)

// writer appends values to b. Once it has failed it stays so.
type writer struct {
	b     []byte
	base  time.Time // times are written as their distance from here
	words map[string]uint64
	err   error
}

// reader takes values from the front of b, in the order in which a writer wrote
// them. Once it has failed it stays so, and gives zero values.
type reader struct {
	b     []byte
	base  time.Time
	words []string
	err   error

	// See codec_shared.go.
	devices        block[Device]
	infos          block[eventlog.DeviceInfo]
	pairs          block[Assignment]
	ownedLabels    shared[eventlog.OwnedLabel]
	reportedLabels shared[string]
}

func newReader(b []byte) *reader {
	return &reader{b: b, ownedLabels: shared[eventlog.OwnedLabel]{}, reportedLabels: shared[string]{}}
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
	}
	r.b = nil
}

func (w *writer) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail("it ends within a number")
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (w *writer) int(n int64) { w.b = binary.AppendVarint(w.b, n) }

func (r *reader) int() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail("it ends within a number")
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many values follow, each of which takes a byte or more.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail("%d values in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

func (w *writer) bool(is bool) {
	var n uint64
	if is {
		n = 1
	}
	w.uint(n)
}

func (r *reader) bool() bool { return r.uint() == 1 }

func (w *writer) bytes(b []byte) {
	w.uint(uint64(len(b)))
	w.b = append(w.b, b...)
}

func (r *reader) raw() []byte {
	n := r.count()
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// bytes gives a copy, and nil for none.
func (r *reader) bytes() []byte {
	b := r.raw()
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

func (w *writer) text(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (r *reader) text() string { return string(r.raw()) }

// word writes a string that is likely to come again: the first time its text,
// after that only its number.
func (w *writer) word(s string) {
	if n, ok := w.words[s]; ok {
		w.uint(n)
		return
	}
	w.words[s] = uint64(len(w.words) + 1)
	w.uint(0)
	w.text(s)
}

func (r *reader) word() string {
	n := r.uint()
	if n == 0 {
		s := r.text()
		r.words = append(r.words, s)
		return s
	}
	if n > uint64(len(r.words)) {
		r.fail("word %d of %d", n, len(r.words))
		return ""
	}
	return r.words[n-1]
}

// A time is 0 where it is zero; else its distance from the base in nanoseconds,
// zigzag, plus 2; and where that does not fit, 1, its seconds and nanoseconds.
func (w *writer) time(t time.Time) {
	const reach = 1 << 33 // seconds, 272 years
	switch sec := t.Unix() - w.base.Unix(); {
	case t.IsZero():
		w.uint(0)
	case sec < -reach || sec > reach:
		w.uint(1)
		w.int(t.Unix())
		w.uint(uint64(t.Nanosecond()))
	default:
		ns := sec*int64(time.Second) + int64(t.Nanosecond()-w.base.Nanosecond())
		w.uint(uint64(ns<<1^ns>>63) + 2)
	}
}

func (r *reader) time() time.Time {
	switch n := r.uint(); n {
	case 0:
		return time.Time{}
	case 1:
		sec, ns := r.int(), r.uint()
		if ns > math.MaxInt32 {
			r.fail("%d nanoseconds", ns)
			return time.Time{}
		}
		return time.Unix(sec, int64(ns)).UTC()
	default:
		n -= 2
		return r.base.Add(time.Duration(n>>1) ^ -time.Duration(n&1)).UTC()
	}
}

func (w *writer) moment(m Moment) { w.time(m.Time()) }

func (r *reader) moment() Moment { return MomentOf(r.time()) }

// json writes what is rare, and what other packages may give more fields.
func (w *writer) json(v any) {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.bytes(b)
}

func (r *reader) json(v any) {
	b := r.raw()
	if r.err != nil {
		return
	}
	if err := json.Unmarshal(b, v); err != nil {
		r.fail("%v", err)
	}
}
