package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"fleet.nationtech.io/eventlog"
)

// FoldVersion numbers what Apply makes of a log, and how it is encoded. Anyone who
// changes either raises it: then no view is taken from an older program, and the
// log is folded from the beginning.
const FoldVersion = 14

// Errors of Decode.
var (
	// ErrOtherVersion: the bytes were made by another FoldVersion.
	ErrOtherVersion = errors.New("the view was folded by another version")
	// ErrDamaged: the bytes are not those that Encode gave.
	ErrDamaged = errors.New("the encoded view is damaged")
)

const magic = "FLTV"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode gives the view as bytes: the same for views of which all that can be
// seen is the same, however they came to be. What Track remembers is left out.
//
// The form: the magic word, FoldVersion, a checksum (CRC-32C) of the body, the
// body as an S2 stream. In the body numbers are varints, maps come in the order
// of their keys, and a string that is likely to come again is written once.
func Encode(v *View) ([]byte, error) {
	w := &writer{words: map[string]uint64{}}
	w.view(v)
	if w.err != nil {
		return nil, fmt.Errorf("encode the view at sequence %d: %w", v.Sequence, w.err)
	}
	b, err := seal(w.b)
	if err != nil {
		return nil, fmt.Errorf("encode the view at sequence %d: %w", v.Sequence, err)
	}
	return b, nil
}

// seal puts what Decode looks at first before a body, and compresses it.
func seal(body []byte) ([]byte, error) {
	h := &writer{b: append(make([]byte, 0, len(body)/2), magic...)}
	h.uint(FoldVersion)
	h.uint(uint64(crc32.Checksum(body, castagnoli)))
	out := bytes.NewBuffer(h.b)
	s := s2.NewWriter(out, s2.WriterConcurrency(1))
	if err := s.EncodeBuffer(body); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Decode gives back the view that was encoded: whatever is applied to it makes
// of it what it would have made of the first. It is not tracked.
//
// Errors: ErrOtherVersion and ErrDamaged.
func Decode(b []byte) (*View, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic)
	}
	h := &reader{b: rest}
	version, sum := h.uint(), h.uint()
	if h.err != nil {
		return nil, h.err
	}
	if version != FoldVersion {
		return nil, fmt.Errorf("%w: %d, and this one is %d", ErrOtherVersion, version, FoldVersion)
	}
	var body bytes.Buffer
	body.Grow(3 * len(h.b)) // about what comes of it
	if _, err := body.ReadFrom(s2.NewReader(bytes.NewReader(h.b))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if uint64(crc32.Checksum(body.Bytes(), castagnoli)) != sum {
		return nil, fmt.Errorf("%w: its checksum differs", ErrDamaged)
	}
	r := newReader(body.Bytes())
	v := r.view()
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return v, nil
}

func (w *writer) view(v *View) {
	w.uint(v.Sequence)
	w.time(v.Recorded)
	w.time(v.Clock)
	w.base = v.Recorded
	w.json(v.Leader.Leader)
	w.uint(v.Leader.Sequence)
	w.time(v.Leader.At)

	w.uint(uint64(len(v.Foreign)))
	for _, f := range slices.Sorted(maps.Keys(v.Foreign)) {
		w.word(string(f))
		w.uint(v.Foreign[f])
	}
	w.uint(uint64(len(v.Deployments)))
	for _, k := range slices.SortedFunc(maps.Keys(v.Deployments), Key.Compare) {
		w.deployment(v.Deployments[k])
	}
	w.uint(uint64(len(v.Devices)))
	for _, id := range slices.Sorted(maps.Keys(v.Devices)) {
		w.device(v.Devices[id])
	}
	w.budgets(v)
}

func (r *reader) view() *View {
	v := New()
	v.Sequence = r.uint()
	v.Recorded, v.Clock = r.time(), r.time()
	r.base = v.Recorded
	r.json(&v.Leader.Leader)
	v.Leader.Sequence = r.uint()
	v.Leader.At = r.time()

	for range r.count() {
		f := eventlog.Family(r.word())
		v.Foreign[f] = r.uint()
	}
	var before *Deployment
	for range r.count() {
		d := r.deployment()
		if before != nil && before.Key.Compare(d.Key) >= 0 {
			r.fail("deployment %s is out of order", d.Key)
			return v
		}
		v.Deployments[d.Key], before = d, d
		v.named[d.Key.Name] = append(v.named[d.Key.Name], d)
	}
	devices, last := r.count(), ""
	v.Devices = make(map[string]*Device, min(devices, len(r.b)/16)) // a device takes more bytes than that
	for i := range devices {
		d := r.device(v)
		if i > 0 && d.ID <= last {
			r.fail("device %q is out of order", d.ID)
			return v
		}
		v.Devices[d.ID], last = d, d.ID
	}
	r.budgets(v)
	for _, s := range r.words[:min(len(r.words), maxInterned)] {
		v.remember(s)
	}
	return v
}

// Compare orders keys by namespace, then by name.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

func (w *writer) deployment(d *Deployment) {
	w.word(d.Key.Namespace)
	w.word(d.Key.Name)
	w.word(string(d.Lifecycle))
	// Raw JSON keeps its bytes: encoding/json would write it again.
	spec := d.Spec
	w.bytes(spec.Score)
	w.bytes(spec.Rollout)
	spec.Score, spec.Rollout = nil, nil
	w.json(spec)
	w.time(d.Created)
	w.mark(d.Applied)
	w.mark(d.Changed)
	w.bool(d.Withdraw != nil)
	if q := d.Withdraw; q != nil {
		w.request(q)
	}
	w.bool(d.Refused != nil)
	if d.Refused != nil {
		w.json(d.Refused)
	}
	w.bool(d.Rollout != Rollout{})
	if d.Rollout != (Rollout{}) {
		w.word(string(d.Rollout.Last))
		w.uint(d.Rollout.Revision)
		w.word(d.Rollout.Strategy)
		w.uint(uint64(d.Rollout.Devices))
		w.text(d.Rollout.Reason)
		w.time(d.Rollout.At)
	}
	w.text(d.Trace.Context)
	w.text(d.Trace.Given)
	w.mark(d.Trace.Begun)
	w.rollouts(d)
}

func (r *reader) deployment() *Deployment {
	d := &Deployment{Key: Key{r.word(), r.word()}, Lifecycle: Lifecycle(r.word())}
	score, rollout := r.bytes(), r.bytes()
	r.json(&d.Spec)
	d.Spec.Score, d.Spec.Rollout = score, rollout
	d.Created, d.Applied, d.Changed = r.time(), r.mark(), r.mark()
	if r.bool() {
		d.Withdraw = r.request()
	}
	if r.bool() {
		d.Refused = &eventlog.Refusal{}
		r.json(d.Refused)
	}
	if r.bool() {
		d.Rollout = Rollout{
			Last: eventlog.Type(r.word()), Revision: r.uint(), Strategy: r.word(), Devices: int(r.uint()), Reason: r.text(), At: r.time(),
		}
	}
	d.Trace = Trace{Context: r.text(), Given: r.text(), Begun: r.mark()}
	r.rollouts(d)
	return d
}

func (w *writer) request(q *Request) {
	w.json(q.Request)
	w.word(q.User)
	w.mark(q.Mark)
}

func (r *reader) request() *Request {
	q := &Request{}
	r.json(&q.Request)
	q.User, q.Mark = r.word(), r.mark()
	return q
}

func (w *writer) mark(m Mark) {
	w.uint(m.Sequence)
	w.text(m.ID)
	w.time(m.At)
}

func (r *reader) mark() Mark { return Mark{Sequence: r.uint(), ID: r.text(), At: r.time()} }
