package checkup

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// Servers that do not answer hold up nobody who ends the list.
func TestTheListEndsWithItsContextWhateverTheServersDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{})
		l := lookout{
			now: time.Now, view: func(fn func(*fleet.View)) { fn(fleet.New()) },
			ask: func(ctx context.Context) (attention.Facts, time.Duration, error) {
				close(asked)
				<-ctx.Done()
				return attention.Facts{}, 0, ctx.Err()
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		shown, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			for range l.pages(ctx) {
				shown++
			}
		}()
		<-asked
		cancel()
		<-ended
		if want := int(presentEvery / lookEvery); shown != want {
			t.Errorf("%d lists were made until the servers were asked, and not %d", shown, want)
		}
	})
}

func TestTheListIsOfTheServersTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := lookout{
			now: time.Now, view: func(fn func(*fleet.View)) { fn(fleet.New()) },
			ask: func(context.Context) (attention.Facts, time.Duration, error) {
				return attention.Facts{Log: &attention.LogSize{Bytes: 9, MaxBytes: 9}}, time.Hour, nil
			},
		}
		for p := range l.pages(t.Context()) {
			ahead := time.Until(p.Time)
			if ahead == 0 && len(p.Items) == 0 {
				continue // the servers were not asked yet
			}
			if ahead != time.Hour || len(p.Items) != 1 || p.Items[0].Kind != attention.LogFull {
				t.Errorf("%s ahead: %+v", ahead, p)
			}
			return
		}
	})
}
