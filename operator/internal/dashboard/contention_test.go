package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/person"
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

// One person who looks at much leaves to others of the places in which pages are made, and the turn
// at a page that both ask for.
func TestOnePersonLeavesPlacesForPagesToOthers(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4, new(dashboardtest.Clock).Use)
	h := o.Dashboard.Handler()
	ask := func(who, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(person.With(t.Context(), o.Persons[who]), http.MethodGet, "http://localhost"+path, nil))
		return w
	}
	release := o.Dashboard.FillOwn("ann")
	waits, late := make(chan *httptest.ResponseRecorder, 1), make(chan *httptest.ResponseRecorder, 1)
	go func() { waits <- ask("ann", "/api/v1/rollouts/shop/web") }()
	go func() { late <- ask("ann", "/api/v1/overview") }() // which another person asks for too
	for _, path := range []string{"/api/v1/overview", "/api/v1/devices", "/api/v1/deployments"} {
		if w := ask("vic", path); w.Code != http.StatusOK {
			t.Errorf("another person, %s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask("ann", "/api/v1/devices"); w.Code != http.StatusOK {
		t.Errorf("a page that is there already: %d %s", w.Code, w.Body)
	}
	if w := <-waits; w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "3 pages are being made for you already") {
		t.Errorf("one page too many: %d %v %s", w.Code, w.Header(), w.Body)
	}
	<-late // as the other person's answer came before or after
	release()
	if w := ask("ann", "/api/v1/rollouts/shop/web"); w.Code != http.StatusOK {
		t.Errorf("with a place again: %d %s", w.Code, w.Body)
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
