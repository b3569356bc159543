package refusal_test

import (
	"testing"

	"fleet.nationtech.io/callout/refusal"
)

func TestEachReasonSaysWhatItMeansAndWhatToDo(t *testing.T) {
	t.Parallel()
	for _, r := range refusal.Reasons() {
		if x := r.Remedy(); x.Means == "" || x.Do == "" {
			t.Errorf("%s: %+v", r, x)
		}
	}
}
