package health

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"fleet.nationtech.io/eventlog/logstream"
)

// heard keeps the reasons of Events.
type heard []string

func (h *heard) Warn(reason, _, _ string, _ *corev1.ObjectReference) { *h = append(*h, reason) }

// The Event is written once in each filling and term, also by a replica that comes to lead while it
// looks at the log.
func TestTheLeaderWritesThatTheLogIsFillingUp(t *testing.T) {
	t.Parallel()
	full, empty := logstream.Info{Bytes: 80, MaxBytes: 100}, logstream.Info{Bytes: 79, MaxBytes: 100}
	tests := map[string]struct {
		looks  []logstream.Info
		leads  []bool // at each question
		events int
	}{
		"it leads":                               {[]logstream.Info{empty, full, full, full}, []bool{true}, 1},
		"another one leads":                      {[]logstream.Info{full, full, full}, []bool{false}, 0},
		"it comes to lead during the first look": {[]logstream.Info{full, full, full}, []bool{false, true}, 1},
		"it comes to lead later":                 {[]logstream.Info{full, full, full, full}, []bool{false, false, true}, 1},
		"it fills up twice":                      {[]logstream.Info{full, full, empty, full}, []bool{true}, 2},
		"it leads again":                         {[]logstream.Info{full, full, full}, []bool{true, false, true}, 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events heard
			var log strings.Builder
			asked := 0
			l := LogSize{Events: &events, Metrics: NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.NewTextHandler(&log, nil)), Leads: func() bool {
				asked++
				return tc.leads[min(asked, len(tc.leads))-1]
			}}
			var told alarmed
			fillings := 0
			for i, info := range tc.looks {
				if info == full && (i == 0 || tc.looks[i-1] == empty) {
					fillings++
				}
				told = l.look(info, told)
			}
			if len(events) != tc.events {
				t.Errorf("%d Events are written, want %d", len(events), tc.events)
			}
			if n := strings.Count(log.String(), "filling up"); n != fillings {
				t.Errorf("it is logged %d times, want %d", n, fillings)
			}
		})
	}
}
