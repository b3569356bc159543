package phrase_test

import (
	"testing"

	"fleet.nationtech.io/eventlog/phrase"
)

func TestANumberHasItsNoun(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]struct{ number, count string }{
		0: {"0 devices", ""}, 1: {"1 device", "1 device"}, 2: {"2 devices", "2 devices"},
	} {
		if got := phrase.Number(n, "device", "devices"); got != want.number {
			t.Errorf("the number %d reads %q, want %q", n, got, want.number)
		}
		if got := phrase.Count(n, "device", "devices"); got != want.count {
			t.Errorf("the count of %d reads %q, want %q", n, got, want.count)
		}
	}
}
