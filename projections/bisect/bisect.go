// Package bisect finds, by halving, a sequence of the log at which something became true.
// It is pure: what is true of a sequence is asked of whoever calls it.
package bisect

import (
	"errors"
	"fmt"
	"math/bits"
)

// Verdict is what is said of a sequence.
type Verdict string

// The verdicts.
const (
	No   Verdict = "no"   // it is not true there
	Yes  Verdict = "yes"  // it is
	Skip Verdict = "skip" // nobody can say
)

// Step is one look.
type Step struct {
	Sequence uint64  `json:"sequence"`
	Verdict  Verdict `json:"verdict"`
	// No is the last sequence that is known not to have it, Yes the first that is known
	// to have it; 0 where none is known yet.
	No  uint64 `json:"no,omitempty"`
	Yes uint64 `json:"yes,omitempty"`
	// Left is about how many looks are left.
	Left int `json:"left"`
}

// Result is what was found: it is not true at No and true at Yes. Between them is nothing,
// or what was skipped.
type Result struct {
	No  uint64 `json:"no"`
	Yes uint64 `json:"yes"`
}

// Exact says whether nothing is between.
func (r Result) Exact() bool { return r.Yes == r.No+1 }

// Errors of a search. Each has a sentence around it that names the sequence.
var (
	ErrOrder   = errors.New("the beginning is not before the end")
	ErrTrue    = errors.New("it is true at the beginning already")
	ErrNotTrue = errors.New("it is not true at the end")
	ErrSkipped = errors.New("nobody can say whether it is true there")
	ErrTooMany = errors.New("too many were skipped")
)

// MaxSkips is how many sequences may be skipped before a search ends.
const MaxSkips = 64

// Search finds a sequence at which look first says Yes after a No: it looks at both ends
// and then halves what is between. Each sequence is looked at once. A search between ends
// that are n apart takes 2 looks more than the logarithm of n to base 2, and one for each
// that is skipped. Where it became true and untrue more than once, one of the times is
// found. told hears of each look; it may be nil.
//
// Errors: ErrOrder, ErrTrue, ErrNotTrue, and ErrSkipped for an end; ErrTooMany together
// with the narrowest Result; the errors of look.
func Search(from, to uint64, look func(uint64) (Verdict, error), told func(Step)) (Result, error) {
	var r Result
	if from >= to {
		return r, fmt.Errorf("sequences %d and %d: %w", from, to, ErrOrder)
	}
	s := search{look: look, told: told, skipped: map[uint64]bool{}}
	for _, end := range []struct {
		at    uint64
		wants Verdict
		wrong error
	}{{from, No, ErrTrue}, {to, Yes, ErrNotTrue}} {
		got, err := s.at(end.at, to-from)
		switch {
		case err != nil:
			return r, err
		case got == Skip:
			return r, fmt.Errorf("sequence %d: %w", end.at, ErrSkipped)
		case got != end.wants:
			return r, fmt.Errorf("sequence %d: %w", end.at, end.wrong)
		}
	}
	for {
		r = s.Result
		middle, ok := s.next()
		if !ok {
			return r, nil
		}
		if len(s.skipped) >= MaxSkips {
			return r, fmt.Errorf("%d sequences: %w", len(s.skipped), ErrTooMany)
		}
		if _, err := s.at(middle, 0); err != nil {
			return r, err
		}
	}
}

type search struct {
	Result
	look    func(uint64) (Verdict, error)
	told    func(Step)
	skipped map[uint64]bool
}

// at looks at a sequence. apart is how far apart the ends are, as long as they are not
// both known.
func (s *search) at(sequence, apart uint64) (Verdict, error) {
	v, err := s.look(sequence)
	if err != nil {
		return v, err
	}
	switch v {
	case No:
		s.No = sequence
	case Yes:
		s.Yes = sequence
	default:
		v = Skip
		s.skipped[sequence] = true
	}
	if s.Yes > 0 {
		apart = s.Yes - s.No
	}
	if s.told != nil {
		s.told(Step{Sequence: sequence, Verdict: v, No: s.No, Yes: s.Yes, Left: bits.Len64(max(apart, 1) - 1)})
	}
	return v, nil
}

// next is the middle of what is left; where that was skipped, one near it, at growing
// distances so that a long stretch that nobody can judge is left soon.
func (s *search) next() (uint64, bool) {
	middle := s.No + (s.Yes-s.No)/2
	for d := uint64(0); d < s.Yes-s.No; d = max(1, 2*d) {
		for _, at := range []uint64{middle + d, middle - min(d, middle)} {
			if s.open(at) {
				return at, true
			}
		}
	}
	for at := s.No + 1; at < s.Yes; at++ {
		if s.open(at) {
			return at, true
		}
	}
	return 0, false
}

func (s *search) open(at uint64) bool { return at > s.No && at < s.Yes && !s.skipped[at] }
