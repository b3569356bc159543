package respond_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// Only a fold goes on for those who ask again.
func TestWhatTookTooLongIsSaidOfWhatItIs(t *testing.T) {
	t.Parallel()
	to, err := respond.New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for says, err := range map[string]error{
		"The work goes on":    fmt.Errorf("%w: %w", moments.ErrUnfolded, context.DeadlineExceeded),
		"This took too long.": fmt.Errorf("ask the servers: %w", context.DeadlineExceeded),
	} {
		w := httptest.NewRecorder()
		code := to.Error(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/devices", nil), err)
		if code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%v: %d %v %s, want %q", err, code, w.Header(), w.Body, says)
		}
	}
}
