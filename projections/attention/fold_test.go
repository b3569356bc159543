package attention_test

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

func TestAnOperatorNeedsAPersonOnceItIsBehindForLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	lacking := func(age time.Duration) *attention.Fold {
		return &attention.Fold{Sequence: 7, Lacks: 8, Since: now.Add(-age)}
	}
	for name, tc := range map[string]struct {
		fold *attention.Fold
		want attention.Severity // 0: it needs nobody
		says string
	}{
		"nobody could be asked":                        {nil, 0, ""},
		"an operator has folded all":                   {&attention.Fold{Sequence: 8, Since: now.Add(-time.Hour)}, 0, ""},
		"an event came just now":                       {lacking(time.Second), 0, ""},
		"this clock is behind that of the servers":     {lacking(-time.Hour), 0, ""},
		"an operator does not keep up":                 {lacking(30 * time.Second), attention.Warning, "event 8 was recorded 30s ago: look at the operators' logs"},
		"an operator stands still":                     {lacking(time.Hour), attention.Critical, "event 8 was recorded 1h00m ago, so it decides by the past"},
		"an operator that starts does not say how far": {&attention.Fold{Refused: "NotReady"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items := attention.Of(&fleet.View{}, now, attention.Facts{Fold: tc.fold})
			if tc.want == 0 {
				if len(items) != 0 {
					t.Errorf("it needs nobody, and the list is %+v", items)
				}
				return
			}
			if len(items) != 1 || items[0].Kind != attention.OperatorBehind || items[0].Severity != tc.want || !strings.Contains(items[0].Reason, tc.says) {
				t.Errorf("want %s that says %q, and the list is %+v", tc.want, tc.says, items)
			}
		})
	}
}

func TestAFleetWithoutAnOperatorNeedsAPerson(t *testing.T) {
	t.Parallel()
	items := attention.Of(&fleet.View{}, time.Now(), attention.Facts{NoOperator: true})
	if len(items) != 1 || items[0].Kind != attention.OperatorSilent || items[0].Severity != attention.Critical {
		t.Errorf("no operator answers, and the list is %+v", items)
	}
}
