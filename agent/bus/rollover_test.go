package bus

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRollover(t *testing.T) {
	t.Parallel()
	type step struct {
		event string
		do    func(*rollover) []action
		want  []action
	}
	proof := func(n uint64) func(*rollover) []action { return func(r *rollover) []action { return r.proof(n) } }
	up := func(id int, shown uint64) func(*rollover) []action {
		return func(r *rollover) []action { return r.up(id, shown) }
	}
	down := func(id int) func(*rollover) []action { return func(r *rollover) []action { return r.down(id) } }
	ready := func(id int) func(*rollover) []action { return func(r *rollover) []action { return r.ready(id) } }
	idle := func(id int) func(*rollover) []action { return func(r *rollover) []action { return r.idle(id) } }
	for name, steps := range map[string][]step{
		"a device with a password has one connection for life": {
			{"proof", proof(1), []action{{toOpen, 1}}}, {"up", up(1, 1), nil}, {"lost", down(1), nil}, {"up again", up(1, 1), nil},
		},
		"without a proof nothing is opened": {{"idle", idle(1), nil}},
		"a new token: open, get ready, retire, close": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"new token", proof(2), []action{{toOpen, 2}}},
			{"it stands", up(2, 2), []action{{toReady, 2}}},
			{"parts are ready", ready(2), []action{{toRetire, 1}}},
			{"idle", idle(1), []action{{toClose, 1}}},
		},
		"the present one is lost meanwhile: the next one follows it, and it does not come back": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"new token", proof(2), []action{{toOpen, 2}}},
			{"lost", down(1), []action{{toRetry, 1}}},
			{"the next stands", up(2, 2), []action{{toClose, 1}}},
		},
		"the present one comes back with the new token by itself: the next one is not needed": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"new token", proof(2), []action{{toOpen, 2}}},
			{"lost", down(1), []action{{toRetry, 1}}},
			{"back", up(1, 2), []action{{toClose, 2}}},
		},
		"a retired one that its token ends is closed, though something goes on there": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"new token", proof(2), []action{{toOpen, 2}}},
			{"it stands", up(2, 2), []action{{toReady, 2}}},
			{"ready", ready(2), []action{{toRetire, 1}}},
			{"its token ended", down(1), []action{{toClose, 1}}},
		},
		"without a connection a new token is tried at once": {
			{"proof", proof(1), []action{{toOpen, 1}}}, {"new token", proof(2), []action{{toRetry, 1}}}, {"up", up(1, 2), nil},
		},
		"a fourth connection takes the oldest retired one's place": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"token 2", proof(2), []action{{toOpen, 2}}},
			{"up", up(2, 2), []action{{toReady, 2}}},
			{"ready", ready(2), []action{{toRetire, 1}}},
			{"token 3", proof(3), []action{{toOpen, 3}}},
			{"up", up(3, 3), []action{{toReady, 3}}},
			{"ready", ready(3), []action{{toRetire, 2}}},
			{"token 4", proof(4), []action{{toClose, 1}, {toOpen, 4}}},
		},
		"a token that came while the next one opened needs another rollover": {
			{"proof", proof(1), []action{{toOpen, 1}}},
			{"up", up(1, 1), nil},
			{"token 2", proof(2), []action{{toOpen, 2}}},
			{"token 3", proof(3), []action{{toRetry, 2}}},
			{"up", up(2, 2), []action{{toReady, 2}}},
			{"ready", ready(2), []action{{toRetire, 1}, {toOpen, 3}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rollover{}
			for _, s := range steps {
				if diff := cmp.Diff(s.want, s.do(r)); diff != "" {
					t.Fatalf("%s (-want +got)\n%s", s.event, diff)
				}
			}
		})
	}
}

// Whatever the order of events: no connection on which the parts live is closed
// while no other such is up, no more than three are open, and in the end there is
// one, with the newest proof.
func TestNoOrderOfEventsLosesTheConnection(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &rollover{}
		w := &fakeLinks{t: t, open: map[int]*fakeLink{}}
		proof := uint64(1)
		w.do(r, r.proof(proof))
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			ids := w.ids()
			id := 0
			if len(ids) > 0 {
				id = rapid.SampledFrom(ids).Draw(t, "link")
			}
			l := w.open[id]
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				proof++
				w.do(r, r.proof(proof))
			case 1:
				if l != nil && !l.up {
					w.stand(id, proof)
					w.do(r, r.up(id, proof))
				}
			case 2:
				if l != nil && l.up {
					w.lose(id)
					w.do(r, r.down(id))
				}
			case 3:
				if l != nil && l.asked {
					l.lives = true
					w.do(r, r.ready(id))
				}
			case 4:
				if l != nil && l.retired {
					w.do(r, r.idle(id))
				}
			case 5:
				w.do(r, r.idle(id)) // nonsense changes nothing
			}
		}
		// The network is good from now on, and everything ends some time.
		for range 20 {
			for _, id := range w.ids() {
				l := w.open[id]
				if l != nil && !l.up {
					w.stand(id, proof)
					w.do(r, r.up(id, proof))
				}
				if l = w.open[id]; l != nil && l.asked && !l.lives {
					l.lives = true
					w.do(r, r.ready(id))
				}
				if l = w.open[id]; l != nil && l.retired {
					w.do(r, r.idle(id))
				}
			}
		}
		if ids := w.ids(); len(ids) != 1 || w.open[ids[0]].shown != proof || !w.open[ids[0]].lives {
			t.Fatalf("in the end there are %v with proof %d", w.open, proof)
		}
	})
}

type fakeLink struct {
	up, asked, lives, retired bool
	shown                     uint64
}

func (l *fakeLink) String() string { return fmt.Sprintf("%+v", *l) }

type fakeLinks struct {
	t     *rapid.T
	open  map[int]*fakeLink
	first bool
}

// stand lets a connection stand. Where no other stands, the parts live on it at
// once, as they have nothing else.
func (w *fakeLinks) stand(id int, proof uint64) {
	l := w.open[id]
	l.up, l.shown = true, proof
	w.alone()
}

func (w *fakeLinks) lose(id int) {
	w.open[id].up = false
	w.alone()
}

func (w *fakeLinks) alone() {
	for _, o := range w.open {
		if o.lives && o.up && !o.retired {
			return
		}
	}
	for _, o := range w.open {
		o.lives = o.lives || o.up
	}
}

func (w *fakeLinks) ids() []int {
	var all []int
	for id := range w.open {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func (w *fakeLinks) do(_ *rollover, actions []action) {
	for _, a := range actions {
		switch a.Do {
		case toOpen:
			w.open[a.Link] = &fakeLink{lives: !w.first}
			w.first = true
		case toReady:
			w.open[a.Link].asked = true
		case toRetire:
			w.open[a.Link].retired = true
		case toClose:
			l := w.open[a.Link]
			delete(w.open, a.Link)
			if !l.lives || !l.up {
				break
			}
			other := false
			for _, o := range w.open {
				other = other || o.lives && o.up
			}
			// Something lives on it: another must be there, unless it retired, when
			// another took its place and may have been lost since.
			if !other && !l.retired {
				w.t.Fatalf("connection %d is closed, and no other is up", a.Link)
			}
		}
		if len(w.open) > maxLinks {
			w.t.Fatalf("%d connections are open", len(w.open))
		}
	}
}
