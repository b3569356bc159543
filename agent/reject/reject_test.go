package reject

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAFloodIsCountedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	r := prometheus.NewRegistry()
	l, err := New(slog.New(slog.NewTextHandler(&out, nil)), r)
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return now }
	for range 500 {
		l.Message("NotFromLog", "a.b", "why")
		now = now.Add(time.Millisecond)
	}
	l.Message("NoReply", "a.b", "why")
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want one a reason:\n%s", n, out.String())
	}
	now = now.Add(time.Hour)
	l.Message("NotFromLog", "a.b", "why")
	if !strings.Contains(out.String(), "since_last_line=499") {
		t.Errorf("the next line does not say how many there were:\n%s", out.String())
	}
	want := `
# HELP fleet_agent_messages_rejected_total Messages that the agent rejected, by the reason.
# TYPE fleet_agent_messages_rejected_total counter
fleet_agent_messages_rejected_total{reason="NoReply"} 1
fleet_agent_messages_rejected_total{reason="NotFromLog"} 501
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	var none *Log
	none.Message("x", "y", "z")
}
