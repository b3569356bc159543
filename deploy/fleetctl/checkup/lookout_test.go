package checkup

import (
	"context"
	"slices"
	"strings"
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
			now: time.Now, view: func(fn func(*fleet.View)) { fn(fleet.New()) }, connected: func() bool { return true }, heard: func() string { return "" },
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
			now: time.Now, view: func(fn func(*fleet.View)) { fn(fleet.New()) }, connected: func() bool { return true }, heard: func() string { return "" },
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

// Without a connection the list is that of the last moment of which it knew: its clock stands, and the
// servers are not asked.
func TestTheListOfAnOutageIsOfTheMomentBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		down, up := began.Add(10*time.Second), began.Add(2*time.Minute)
		l := lookout{
			now: time.Now, view: func(fn func(*fleet.View)) { fn(fleet.New()) },
			connected: func() bool { return time.Now().Before(down) || !time.Now().Before(up) },
			heard: func() string {
				if time.Now().Before(down.Add(5 * time.Second)) {
					return "Connected again." // of an earlier outage
				}
				return "The connection broke."
			},
			ask: func(context.Context) (attention.Facts, time.Duration, error) {
				if now := time.Now(); now.After(down) && now.Before(up) {
					t.Errorf("the servers are asked %s after they went", now.Sub(down))
				}
				return attention.Facts{}, 0, nil
			},
		}
		for p := range l.pages(t.Context()) {
			now := time.Now()
			want, outage := now, ""
			if !now.Before(down) && now.Before(up) {
				want, outage = down, "The connection broke."
			}
			if outage != "" && now.Before(down.Add(5*time.Second)) {
				outage = "There is no connection to the NATS servers; trying until it is back."
			}
			if !p.Time.Equal(want) || p.Outage != outage || strings.Contains(p.head(), "not connected") != (outage != "") {
				t.Fatalf("%s after the begin the page is of %s: %s (%s)", now.Sub(began), p.Time.Sub(began), p.head(), p.Outage)
			}
			if now.After(up.Add(time.Minute)) {
				return
			}
		}
	})
}

func TestACommandIsDividedAsAShellReadsIt(t *testing.T) {
	t.Parallel()
	const text = "fleetctl explain device/shop-floor-0001 deployment/web -n retail"
	for _, tc := range []struct {
		text  string
		width int
		whole bool
		want  []string
	}{
		{text, 80, false, []string{"$ " + text}},
		{text, 40, true, []string{"$ " + text}},
		{text, 44, false, []string{`$ fleetctl explain device/shop-floor-0001 \`, "  deployment/web -n retail"}},
		{"fleetctl device allow x --reason 'it was repaired'", 24, false, []string{"$ fleetctl device allow x --reason 'it was repaired'"}},
	} {
		if got := command(tc.text, tc.width, tc.whole); !slices.Equal(got, tc.want) {
			t.Errorf("in %d columns: %q, want %q", tc.width, got, tc.want)
		}
	}
}
