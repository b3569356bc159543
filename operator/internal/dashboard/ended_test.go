package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// A person whose request is ended from here is still there, and is told why and to ask again.
func TestWhoIsThereIsNotToldToHaveGoneAway(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	_, q, _ := o.Asks("ann", "/api/v1/rollouts/shop/web/requests", `{"verb":"pause"}`)
	defer o.Dashboard.FillSlots()() // pages wait, and end while they do
	h := o.Dashboard.Handler()
	for name, tt := range map[string]struct {
		cause error // nil: the client went away
		code  int
		says  string
	}{
		"the person's connection has ended": {person.ErrEnded, http.StatusServiceUnavailable, "onnection to NATS"},
		"the operator is ending":            {errors.New("the operator is ending"), http.StatusServiceUnavailable, "the operator is ending"},
		"the client went away":              {nil, 499, "he client went away"},
	} {
		for _, path := range []string{"/devices", "/api/v1/devices", fmt.Sprintf("/requests/%d", q.Sequence), fmt.Sprintf("/api/v1/requests/%d", q.Sequence), "/api/v1/events"} {
			ctx, end := context.WithCancelCause(person.With(t.Context(), o.Persons["ann"]))
			end(tt.cause)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) || (w.Header().Get("Retry-After") == "") != (tt.cause == nil) {
				t.Errorf("%s, %s: %d %v\n%s", name, path, w.Code, w.Header(), w.Body)
			}
		}
	}
}
