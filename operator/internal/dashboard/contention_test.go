package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

// Those who only look cannot keep an operator from acting.
func TestAnActionDoesNotWaitForPages(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	release := o.Dashboard.FillSlots()
	defer release()
	form := o.Form("ann", "/rollouts/shop/web/abort")
	form.Set("confirm", "yes")
	if answer, body := o.Post("ann", "/rollouts/shop/web/abort", form); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("%s\n%s", answer.Status, body)
	}
}

// What became of a request is read in the log, by as many at a time as read histories.
func TestWhatBecameOfARequestWaitsForAReader(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	_, q, _ := o.Asks("ann", "/api/v1/rollouts/shop/web/requests", `{"verb":"pause"}`)
	path := fmt.Sprintf("/api/v1/requests/%d", q.Sequence)
	release := o.Dashboard.FillReaders()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := http.DefaultTransport.RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		if err == nil {
			answer.Body.Close()
		}
		t.Errorf("while all read, the answer is %v (%v)", answer, err)
	}
	release()
	if answer, body := o.Get(path); answer.StatusCode != http.StatusOK {
		t.Errorf("%s\n%s", answer.Status, body)
	}
}

// One person cannot take all streams of events; and can act all the same.
func TestOnePersonLeavesStreamsToOthers(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	follow := func(who string) (code int, leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Server.URL+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(dashboardtest.AsPerson, who)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, func() {
			cancel()
			answer.Body.Close()
		}
	}
	var leave []func()
	for {
		code, l := follow("ann")
		t.Cleanup(l)
		if code == http.StatusTooManyRequests {
			break
		}
		if leave = append(leave, l); code != http.StatusOK || len(leave) > 100 {
			t.Fatalf("stream %d: %d", len(leave), code)
		}
	}
	if code, l := follow("vic"); code != http.StatusOK {
		t.Errorf("another person: %d", code)
	} else {
		l()
	}
	form := o.Form("ann", "/rollouts/shop/web/pause")
	if answer, body := o.Post("ann", "/rollouts/shop/web/pause", form); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("an action beside the streams: %s\n%s", answer.Status, body)
	}
	leave[0]()
	dashboardtest.Eventually(t, "there is a place again", func() bool {
		code, l := follow("ann")
		l()
		return code == http.StatusOK
	})
}
