package fleet

import "fleet.nationtech.io/eventlog"

// A view of ten thousand devices is more than a hundred thousand objects, if each is one of
// its own, and to collect them costs more than to read them. So Decode makes the objects of
// a kind in blocks, and devices with the same labels share a map: Apply replaces the labels
// of a device, and never changes them.

// block gives objects of a kind. What keeps one of them keeps the others of its array.
type block[T any] []T

func (b *block[T]) next() *T {
	if len(*b) == 0 {
		*b = make([]T, 64)
	}
	o := &(*b)[0]
	*b = (*b)[1:]
	return o
}

// shared are the labels that were read, by the bytes that say them.
type shared[L any] map[string]map[string]L

// read gives the labels that come next; each is a key, and what label reads.
func (s shared[L]) read(r *reader, label func() L) map[string]L {
	n, rest := r.count(), r.b
	if n == 0 {
		return nil
	}
	type pair struct {
		key   string
		label L
	}
	var few [8]pair
	all := few[:0]
	for range n {
		all = append(all, pair{r.word(), label()})
	}
	if r.err != nil {
		return nil
	}
	said := rest[:len(rest)-len(r.b)]
	if same := s[string(said)]; same != nil {
		return same
	}
	labels := make(map[string]L, n)
	for _, p := range all {
		labels[p.key] = p.label
	}
	s[string(said)] = labels
	return labels
}

func (r *reader) owned() map[string]eventlog.OwnedLabel {
	return r.ownedLabels.read(r, func() eventlog.OwnedLabel {
		return eventlog.OwnedLabel{Value: r.word(), Owner: r.word()}
	})
}

func (r *reader) labels() map[string]string { return r.reportedLabels.read(r, r.word) }

// textLike is text, and keeps nothing more where it is the given one.
func (r *reader) textLike(like string) string {
	if b := r.raw(); string(b) != like {
		return string(b)
	}
	return like
}
