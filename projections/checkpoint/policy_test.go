package checkpoint_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/checkpoint"
)

func TestDue(t *testing.T) {
	t.Parallel()
	const kb = 1000
	log := func(last uint64) logstream.Info {
		return logstream.Info{First: 1, Last: last, Bytes: last * kb} // events of 1 kB
	}
	tests := map[string]struct {
		log    logstream.Info
		newest checkpoint.Entry
		events uint64
		due    bool
		atEnd  bool
	}{
		"an empty log":                               {log: log(0), events: 100},
		"too few events":                             {log: log(99), events: 100, atEnd: true},
		"the first":                                  {log: log(100), events: 100, due: true, atEnd: true},
		"never, when it is switched off":             {log: log(100), events: 0, atEnd: true},
		"too few since the newest":                   {log: log(199), newest: checkpoint.Entry{Sequence: 100, Bytes: 20 * kb}, events: 100, atEnd: true},
		"enough since the newest":                    {log: log(200), newest: checkpoint.Entry{Sequence: 100, Bytes: 25 * kb}, events: 100, due: true, atEnd: true},
		"a large fleet in which little happens":      {log: log(200), newest: checkpoint.Entry{Sequence: 100, Bytes: 26 * kb}, events: 100, atEnd: true},
		"less since the newest than it weighs":       {log: log(124), newest: checkpoint.Entry{Sequence: 100, Bytes: 25 * kb}, events: 10},
		"nothing since the newest":                   {log: log(100), newest: checkpoint.Entry{Sequence: 100}, events: 1},
		"a newest beyond the end: the log went back": {log: log(100), newest: checkpoint.Entry{Sequence: 150}, events: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := checkpoint.Due(tt.log, tt.newest, tt.events); got != tt.due {
				t.Errorf("Due = %t, want %t", got, tt.due)
			}
			if got := checkpoint.DueAtEnd(tt.log, tt.newest); got != tt.atEnd {
				t.Errorf("DueAtEnd = %t, want %t", got, tt.atEnd)
			}
		})
	}
}

func TestThin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sequences []uint64
		most      int
		drop      []uint64
	}{
		"none":                                {nil, 3, nil},
		"as many as may be":                   {[]uint64{1, 2, 3}, 3, nil},
		"the old ones go first":               {[]uint64{10, 20, 30, 40, 50, 60, 70, 80}, 5, []uint64{10, 20, 30}},
		"the newest alone":                    {[]uint64{10, 20, 30}, 1, []uint64{10, 20}},
		"the newest even where none may be":   {[]uint64{10, 20}, 0, []uint64{10}},
		"in any order, and one that is twice": {[]uint64{30, 10, 30, 20}, 3, nil},
		"two that are close together are one": {[]uint64{100, 199, 200, 300}, 3, []uint64{199}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.drop, checkpoint.Thin(tt.sequences, tt.most)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A moment costs the fold from the checkpoint before it. However long the log,
// that is a small share of the way from there to now, or of the whole log.
func TestThinningKeepsEveryMomentCheap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		saves := rapid.IntRange(1, 3000).Draw(t, "saves")
		uneven := rapid.Uint64Range(0, 3).Draw(t, "uneven")
		var kept []uint64
		last := uint64(0)
		for i := range saves {
			last += checkpoint.DefaultEvents + uneven*uint64(i*7919%checkpoint.DefaultEvents)
			kept = append(kept, last)
			drop := checkpoint.Thin(kept, checkpoint.Most)
			kept = slices.DeleteFunc(kept, func(s uint64) bool { return slices.Contains(drop, s) })
		}
		if len(kept) > checkpoint.Most || kept[len(kept)-1] != last {
			t.Fatalf("%d kept, the newest at %d; want at most %d and the last save %d", len(kept), kept[len(kept)-1], checkpoint.Most, last)
		}
		before := uint64(0)
		mean := 0.0
		for _, seq := range kept {
			gap, age := float64(seq-before), float64(last-before)
			mean += gap / 2 * gap / float64(last)
			if few := 4.0*checkpoint.DefaultEvents + 1; gap > few && gap > age/5 {
				t.Errorf("after %d saves a gap of %.0f events ends at an age of %.0f", saves, gap, age-gap)
			}
			before = seq
		}
		if share := mean / float64(last); saves > 32 && share > 0.05 {
			t.Errorf("after %d saves a moment costs %.3f of the log on average", saves, share)
		}
	})
}
