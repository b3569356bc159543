package asof_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
)

func TestSequence(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	l := asoftest.NewLife(t, js, 3)
	ctx := t.Context()
	if n, err := asof.Sequence(ctx, js, asof.Moment{}); n != 0 || err != nil {
		t.Errorf("now, of an empty log: %d, %v", n, err)
	}
	if _, err := asof.Sequence(ctx, js, asof.Moment{Time: time.Now()}); !errors.Is(err, asof.ErrBeforeBeginning) {
		t.Errorf("a time, of an empty log: %v", err)
	}
	l.Append(50)
	var recorded []time.Time
	for e, err := range reader.Read(ctx, js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		recorded = append(recorded, e.Recorded)
	}
	tests := map[string]struct {
		moment asof.Moment
		want   uint64
		err    error
	}{
		"now":                           {asof.Moment{}, 50, nil},
		"a sequence":                    {asof.Moment{Sequence: 17}, 17, nil},
		"the first":                     {asof.Moment{Sequence: 1}, 1, nil},
		"one beyond the end":            {asof.Moment{Sequence: 51}, 0, asof.ErrBeyondEnd},
		"the very time of an event":     {asof.Moment{Time: recorded[16]}, 17, nil},
		"a moment after it":             {asof.Moment{Time: recorded[16].Add(1)}, 17, nil},
		"a moment before it":            {asof.Moment{Time: recorded[16].Add(-1)}, 16, nil},
		"the time of the first":         {asof.Moment{Time: recorded[0]}, 1, nil},
		"a time before the beginning":   {asof.Moment{Time: recorded[0].Add(-1)}, 0, asof.ErrBeforeBeginning},
		"a time that is still to come":  {asof.Moment{Time: time.Now().Add(time.Hour)}, 50, nil},
		"a sequence wins over a time":   {asof.Moment{Sequence: 5, Time: recorded[30]}, 5, nil},
		"a time of the distant past":    {asof.Moment{Time: time.Unix(0, 0)}, 0, asof.ErrBeforeBeginning},
		"a sequence far beyond the end": {asof.Moment{Sequence: 1 << 60}, 0, asof.ErrBeyondEnd},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := asof.Sequence(t.Context(), js, tt.moment)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %d, %v; want %d, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseMoment(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 24, 15, 0, 0, 0, zone)
	tests := map[string]struct {
		text string
		want asof.Moment
		err  error
	}{
		"nothing":                      {"", asof.Moment{}, nil},
		"the word":                     {"now", asof.Moment{}, nil},
		"a sequence":                   {"1234", asof.Moment{Sequence: 1234}, nil},
		"a time of the norm":           {"2026-11-24T14:03:00Z", asof.Moment{Time: time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)}, nil},
		"a time with a part of it":     {"2026-11-24T14:03:00.5Z", asof.Moment{Time: time.Date(2026, 11, 24, 14, 3, 0, 5e8, time.UTC)}, nil},
		"a time in the person's zone":  {"2026-11-24 14:03", asof.Moment{Time: time.Date(2026, 11, 24, 14, 3, 0, 0, zone)}, nil},
		"a day":                        {"2026-11-20", asof.Moment{Time: time.Date(2026, 11, 20, 0, 0, 0, 0, zone)}, nil},
		"a time of today":              {"14:03", asof.Moment{Time: time.Date(2026, 11, 24, 14, 3, 0, 0, zone)}, nil},
		"a time of last night":         {"23:50", asof.Moment{Time: time.Date(2026, 11, 23, 23, 50, 0, 0, zone)}, nil},
		"this very minute":             {"15:00", asof.Moment{Time: now}, nil},
		"how long ago":                 {"-15m", asof.Moment{Time: now.Add(-15 * time.Minute)}, nil},
		"days ago":                     {"-3d", asof.Moment{Time: now.Add(-72 * time.Hour)}, nil},
		"the sequence zero":            {"0", asof.Moment{}, asof.ErrNoMoment},
		"a word":                       {"yesterday", asof.Moment{}, asof.ErrNoMoment},
		"a duration that is yet to be": {"--15m", asof.Moment{}, asof.ErrNoMoment},
		"a month that is none":         {"2026-13-24", asof.Moment{}, asof.ErrNoMoment},
		"the zero time, as programs write it that have none": {"0001-01-01T00:00:00Z", asof.Moment{}, asof.ErrNoMoment},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := asof.ParseMoment(tt.text, now)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"", "now", "12", "-3d", "14:03", "2026-11-24T14:03:00Z", "-", "-5", "99999999999999999999"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		m, err := asof.ParseMoment(s, now)
		if err != nil {
			return
		}
		again, err := asof.ParseMoment(m.String(), now)
		if err != nil || again.Sequence != m.Sequence || !again.Time.Equal(m.Time) {
			t.Errorf("%q is %v, which is %v, %v", s, m, again, err)
		}
	})
}
