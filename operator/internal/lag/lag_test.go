package lag_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleet.nationtech.io/operator/internal/lag"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestWhatAReaderLacks(t *testing.T) {
	t.Parallel()
	end := lag.End{LogID: "log", First: 3, Last: 9, At: noon}
	for name, c := range map[string]struct {
		end     lag.End
		reading lag.Reading
		want    uint64
	}{
		"a reader at the end lacks nothing":                          {end, lag.Reading{LogID: "log", Sequence: 9}, 0},
		"a reader on its way lacks the next event":                   {end, lag.Reading{LogID: "log", Sequence: 5}, 6},
		"a reader that has not begun lacks the log's first event":    {end, lag.Reading{LogID: "log"}, 3},
		"a reader that knows no log yet lacks the first event":       {end, lag.Reading{}, 3},
		"a reader of another log lacks all of this one":              {end, lag.Reading{LogID: "old", Sequence: 9}, 3},
		"a reader beyond the end lacks all: the log lost its tail":   {end, lag.Reading{LogID: "log", Sequence: 12}, 3},
		"an empty log has nothing to lack":                           {lag.End{LogID: "log", At: noon}, lag.Reading{}, 0},
		"an empty log in the place of a longer one has nothing, too": {lag.End{LogID: "new", At: noon}, lag.Reading{LogID: "old", Sequence: 4}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.end.Lacks(c.reading); got != c.want {
				t.Errorf("it lacks %d, want %d", got, c.want)
			}
		})
	}
}

func TestTheAgeOfWhatAReaderLacks(t *testing.T) {
	t.Parallel()
	end := lag.End{LogID: "log", First: 1, Last: 9, At: noon}
	whole := lag.Mark{End: end}
	behind := lag.Mark{End: end, Sequence: 6, Recorded: noon.Add(-time.Minute)}
	at := func(sequence uint64) lag.Reading { return lag.Reading{LogID: "log", Sequence: sequence} }
	for name, c := range map[string]struct {
		mark    lag.Mark
		reading lag.Reading
		since   time.Duration
		want    time.Duration
	}{
		"a reader that has all is not behind, however quiet the log is":    {whole, at(9), time.Second, 0},
		"a reader that stands still gets older by the second":              {behind, at(5), 7 * time.Second, 67 * time.Second},
		"a reader that came to the end since is not behind":                {behind, at(9), time.Second, 0},
		"a reader that went past the known end is not behind":              {behind, at(12), time.Second, 0},
		"a reader that goes on is as far behind as at the look":            {behind, at(7), time.Second, time.Minute},
		"a reader that begins again lacks the same event":                  {behind, lag.Reading{}, time.Second, 61 * time.Second},
		"what a reader has passed and owes counts":                         {whole, lag.Reading{LogID: "log", Sequence: 9, Owed: noon.Add(-time.Hour)}, time.Minute, time.Hour + time.Minute},
		"what a reader owes is outdone by what it lacks, if that is older": {behind, lag.Reading{LogID: "log", Sequence: 5, Owed: noon.Add(-time.Second)}, 0, time.Minute},
		"a log that has not answered for a while may have grown":           {whole, at(9), 40 * time.Second, 40 * time.Second},
		"a clock of the servers that went back gives no age below zero":    {lag.Mark{End: end, Sequence: 6, Recorded: noon.Add(time.Hour)}, at(5), time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.mark.Age(c.reading, c.since); got != c.want {
				t.Errorf("its age is %s, want %s", got, c.want)
			}
		})
	}
}

// A reader that stands still is never said to catch up, and one that has all is never said to be
// behind while the log answers.
func TestAnAgeGrowsWithTheTimeAndShrinksWithTheReading(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		end := lag.End{LogID: "log", First: 1, Last: rapid.Uint64Range(1, 50).Draw(t, "last"), At: noon}
		r := lag.Reading{LogID: "log", Sequence: rapid.Uint64Range(0, end.Last).Draw(t, "at")}
		m := lag.Mark{End: end, Sequence: end.Lacks(r), Recorded: noon.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "age")) * time.Second)}
		since := time.Duration(rapid.IntRange(0, 100).Draw(t, "since")) * time.Second
		later := since + time.Duration(rapid.IntRange(0, 100).Draw(t, "more"))*time.Second
		if m.Age(r, later) < m.Age(r, since) {
			t.Fatalf("its age falls from %s to %s though it stands still", m.Age(r, since), m.Age(r, later))
		}
		on := lag.Reading{LogID: "log", Sequence: rapid.Uint64Range(r.Sequence, end.Last).Draw(t, "on")}
		if m.Age(on, since) > m.Age(r, since) {
			t.Fatalf("its age grows from %s to %s though it went on", m.Age(r, since), m.Age(on, since))
		}
		if on.Sequence == end.Last && since <= lag.Patience && m.Age(on, since) != 0 {
			t.Fatalf("it has all, and its age is %s", m.Age(on, since))
		}
	})
}
