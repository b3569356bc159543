package gates

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/gates/prometheustest"
)

// What the stand-ins of the other tests say, a real server says, too.
func TestARealPrometheusIsAskedAndIsAwayAndComesBack(t *testing.T) {
	t.Parallel()
	p := prometheustest.Start(t)
	transport := newTransport()
	t.Cleanup(transport.CloseIdleConnections)
	c := client{server: Server{Name: "main", URL: p.URL}, transport: transport, timeout: 30 * time.Second} // a busy machine
	for query, want := range map[string]struct {
		value float64
		says  string
	}{
		"vector(0.5)":           {value: 0.5},
		"scalar(vector(2))":     {value: 2},
		"absent_metric":         {says: "gave no sample"},
		"vector(0) / vector(0)": {says: "gave NaN"},
		"vector(1) / 0":         {says: "gave an infinite value"},
		`label_replace(vector(1), "i", "1", "", "") or label_replace(vector(1), "i", "2", "", "")`: {says: "gave 2 samples"},
		"vector(0.5)[1m:1s]": {says: "gave a range of samples"},
		`"text"`:             {says: "gave no number"},
		"sum(":               {says: "Prometheus server main refused the query: invalid parameter"},
		"vector(1) + on() (label_replace(vector(1), \"i\", \"1\", \"\", \"\") or vector(2))": {says: "main refused the query"},
	} {
		got := c.ask(t.Context(), query)
		if got.value != want.value || (got.no == "") != (want.says == "") || !strings.Contains(got.no, want.says) {
			t.Errorf("%s: %+v, want %v %q", query, got, want.value, want.says)
		}
	}
	p.Kill()
	if got := c.ask(t.Context(), "vector(1)"); !strings.HasPrefix(got.no, "Prometheus server main cannot be reached: ") {
		t.Errorf("killed: %+v", got)
	}
	p.Restart()
	if got := c.ask(t.Context(), "vector(1)"); got.value != 1 || got.no != "" {
		t.Errorf("back: %+v", got)
	}
	p.Say("errors 7\n")
	deadline := time.Now().Add(time.Minute)
	for got := c.ask(t.Context(), "errors"); got.value != 7; got = c.ask(t.Context(), "errors") {
		if time.Now().After(deadline) {
			t.Fatalf("what it scrapes: %+v", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
