package eventsapi_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

// slowRead reads a page of a log of three events, where a look at each event takes so long.
func slowRead(ctx context.Context, l *log, each time.Duration) (eventsapi.Page[uint64], error) {
	q, err := eventsapi.ParseQuery(url.Values{"limit": {"3"}})
	if err != nil {
		return eventsapi.Page[uint64]{}, err
	}
	q.Only(func(*eventlog.Event, error) bool {
		time.Sleep(each)
		return true
	}, eventlog.Types())
	return eventsapi.Read(ctx, l.js, q, func(e *eventlog.Event, _ error) uint64 { return e.Sequence })
}

func TestAPageThatHasNothingYetIsReadForLonger(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.fill(3)
	p, err := slowRead(t.Context(), l, 2600*time.Millisecond) // two take longer than a page that has something
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Rows, []uint64{3, 2, 1}) {
		t.Errorf("the page has the events %v, want 3, 2 and 1", p.Rows)
	}
}

func TestAPageThatCannotBeReadInTimeSaysSoBeforeItsRequestEnds(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.fill(3)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	if _, err := slowRead(ctx, l, 11100*time.Millisecond); !errors.Is(err, eventsapi.ErrTooSlow) {
		t.Errorf("the error is %v, want %v", err, eventsapi.ErrTooSlow)
	}
}
