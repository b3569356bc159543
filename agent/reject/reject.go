// Package reject is where what the agent rejects is counted and
// logged, at a bounded rate: anyone who can make a device refuse messages must not
// be able to fill its disk with the news of it.
package reject

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// perReason is how often one reason is logged at most.
const perReason = time.Minute

// Log counts all and logs a little. Its methods may be used from several
// goroutines; a nil Log is quiet.
type Log struct {
	logger *slog.Logger
	total  *prometheus.CounterVec
	now    func() time.Time

	mu   sync.Mutex
	last map[string]told
}

type told struct {
	at      time.Time
	skipped int
}

// New wires a Log; logger and registerer may be nil. It fails where the
// registerer has something else under the counter's name.
func New(logger *slog.Logger, r prometheus.Registerer) (*Log, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{logger: logger, now: time.Now, last: map[string]told{}, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fleet_agent_messages_rejected_total",
		Help: "Messages that the agent rejected, by the reason.",
	}, []string{"reason"})}
	if r != nil {
		if err := r.Register(l.total); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return l, nil
}

// Message says that a message on a subject was not believed. reason is one of a
// fixed set of constants.
func (l *Log) Message(reason, subject, why string) {
	if l == nil {
		return
	}
	l.total.WithLabelValues(reason).Inc()
	now := l.now()
	l.mu.Lock()
	t := l.last[reason]
	quiet := !t.at.IsZero() && now.Sub(t.at) < perReason && now.After(t.at)
	if quiet {
		t.skipped++
		l.last[reason] = t
	} else {
		l.last[reason] = told{at: now}
	}
	l.mu.Unlock()
	if !quiet {
		l.logger.Warn("message rejected", "reason", reason, "subject", subject, "why", why, "since_last_line", t.skipped)
	}
}
