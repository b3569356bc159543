package spelling_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog/spelling"
)

func TestDistanceCountsWhatAFingerDoesWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		a, b string
		want int
	}{
		"the same name":         {"hello", "hello", 0},
		"one letter is missing": {"helo", "hello", 1},
		"one letter too many":   {"helllo", "hello", 1},
		"another letter":        {"hallo", "hello", 1},
		"two letters swapped":   {"hlelo", "hello", 1},
		"nothing alike":         {"abc", "xyz", 3},
		"an empty name":         {"", "web", 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := spelling.Distance(tt.a, tt.b); got != tt.want {
				t.Errorf("Distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
			}
			if there, back := spelling.Distance(tt.a, tt.b), spelling.Distance(tt.b, tt.a); there != back {
				t.Errorf("%d one way and %d the other", there, back)
			}
		})
	}
}

func TestClosestGivesTheLikeliestFirst(t *testing.T) {
	t.Parallel()
	names := []string{"edge-01", "edge-02", "edge-10", "kiosk", "edge"}
	tests := map[string]struct {
		name string
		want []string
	}{
		"a swap":           {"egde-01", []string{"edge-01", "edge-02", "edge-10"}},
		"the beginning":    {"kio", []string{"kiosk"}},
		"nothing is alike": {"frankfurt", []string{}},
		"more than a name": {"kiosk-3", []string{"kiosk"}},
		"at most three":    {"edge-0", []string{"edge-01", "edge-02", "edge-10"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, spelling.Closest(tt.name, names)); diff != "" {
				t.Errorf("closest to %s (-want +got):\n%s", tt.name, diff)
			}
		})
	}
}
