package bisect_test

import (
	"errors"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"fleet.nationtech.io/projections/bisect"
)

// world is a history: what is said of each sequence. It counts the looks.
type world struct {
	verdicts func(uint64) bisect.Verdict
	looks    map[uint64]int
}

func (w *world) look(at uint64) (bisect.Verdict, error) {
	if w.looks == nil {
		w.looks = map[uint64]int{}
	}
	w.looks[at]++
	return w.verdicts(at), nil
}

func truth(b bool) bisect.Verdict {
	if b {
		return bisect.Yes
	}
	return bisect.No
}

func TestTheOneChangeIsFoundInTwoLooksMoreThanTheLogarithm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.Uint64Range(1, 1_000).Draw(rt, "from")
		to := from + rapid.Uint64Range(1, 10_000_000).Draw(rt, "apart")
		change := rapid.Uint64Range(from+1, to).Draw(rt, "change")
		w := world{verdicts: func(at uint64) bisect.Verdict { return truth(at >= change) }}
		steps := 0
		r, err := bisect.Search(from, to, w.look, func(s bisect.Step) {
			if steps++; steps > 2 && len(w.looks)+s.Left > 2+bits.Len64(to-from-1) {
				rt.Fatalf("after %d looks %d are said to be left, of %d", len(w.looks), s.Left, to-from)
			}
		})
		if err != nil || r.Yes != change || !r.Exact() {
			rt.Fatalf("it changed at %d, and %+v was found (%v)", change, r, err)
		}
		if most := 2 + bits.Len64(to-from-1); len(w.looks) > most {
			rt.Fatalf("%d looks at %d sequences, more than %d", len(w.looks), to-from+1, most)
		}
	})
}

func TestOfManyChangesOneIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		said := rapid.SliceOfN(rapid.SampledFrom([]bisect.Verdict{bisect.No, bisect.Yes, bisect.Yes, bisect.Skip}), 0, 60).Draw(rt, "said")
		said = append(append([]bisect.Verdict{bisect.No}, said...), bisect.Yes)
		w := world{verdicts: func(at uint64) bisect.Verdict { return said[at-1] }}
		r, err := bisect.Search(1, uint64(len(said)), w.look, nil)
		if err != nil {
			rt.Fatal(err)
		}
		if said[r.No-1] != bisect.No || said[r.Yes-1] != bisect.Yes || r.No >= r.Yes {
			rt.Fatalf("%v: %+v is no change", said, r)
		}
		for at := r.No + 1; at < r.Yes; at++ {
			if said[at-1] != bisect.Skip {
				rt.Fatalf("%v: %d, between %+v, was not skipped", said, at, r)
			}
		}
		for at, n := range w.looks {
			if n != 1 {
				rt.Fatalf("%d was looked at %d times", at, n)
			}
		}
	})
}

func TestAStretchThatNobodyCanJudgeIsLeftSoon(t *testing.T) {
	t.Parallel()
	w := world{verdicts: func(at uint64) bisect.Verdict {
		if at > 40_000 && at < 60_000 {
			return bisect.Skip
		}
		return truth(at >= 80_000)
	}}
	r, err := bisect.Search(1, 100_000, w.look, nil)
	if err != nil || r.Yes != 80_000 || len(w.looks) > 50 {
		t.Errorf("%+v after %d looks (%v)", r, len(w.looks), err)
	}
}

func TestASearchThatCannotBeSaysWhy(t *testing.T) {
	t.Parallel()
	broken := errors.New("the command cannot be run")
	for name, tc := range map[string]struct {
		from, to uint64
		verdicts func(uint64) bisect.Verdict
		fails    error
		want     error
	}{
		"the beginning is the end":       {5, 5, nil, nil, bisect.ErrOrder},
		"it is true already":             {1, 9, func(uint64) bisect.Verdict { return bisect.Yes }, nil, bisect.ErrTrue},
		"it never becomes true":          {1, 9, func(uint64) bisect.Verdict { return bisect.No }, nil, bisect.ErrNotTrue},
		"nobody can judge the beginning": {1, 9, func(uint64) bisect.Verdict { return bisect.Skip }, nil, bisect.ErrSkipped},
		"nobody can judge what is between": {1, 9_999, func(at uint64) bisect.Verdict {
			switch at {
			case 1:
				return bisect.No
			case 9_999:
				return bisect.Yes
			}
			return bisect.Skip
		}, nil, bisect.ErrTooMany},
		"looking fails": {1, 9, nil, broken, broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bisect.Search(tc.from, tc.to, func(at uint64) (bisect.Verdict, error) {
				if tc.fails != nil {
					return bisect.Skip, tc.fails
				}
				return tc.verdicts(at), nil
			}, nil)
			if !errors.Is(err, tc.want) {
				t.Errorf("want %v, got %v", tc.want, err)
			}
		})
	}
}
