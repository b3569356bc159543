package gates

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// story is an asker without a network and without a log: the test says which gates are to
// be asked, and how servers answer.
type story struct {
	*Asker
	registry *prometheus.Registry
	log      bytes.Buffer

	mu       sync.Mutex
	qs       []decide.Question
	ahead    time.Duration // of the log's clock before the machine's
	answered []decide.Answer
	asked    map[string]int                       // by host
	busy     map[string]int                       // by host, now
	most     map[string]int                       // by host, at once
	serve    func(host string) (string, error)    // by host, after delay
	delay    func(host string) time.Duration      // how long it takes
	settle   func(decide.Answer) *decide.Question // what takes the question's place once it is answered; nil: it stays
}

func newStory(servers ...string) *story {
	s := &story{
		registry: prometheus.NewRegistry(), asked: map[string]int{}, busy: map[string]int{}, most: map[string]int{},
		serve: func(string) (string, error) { return one, nil }, delay: func(string) time.Duration { return 0 },
		settle: func(decide.Answer) *decide.Question { return nil },
	}
	var all []Server
	for _, name := range servers {
		all = append(all, Server{Name: name, URL: "http://" + name})
	}
	s.Asker = New(Options{
		Servers: all, Metrics: NewMetrics(s.registry, all), Now: time.Now, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
		Answered: func(a decide.Answer) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answered = append(s.answered, a)
			for i, q := range s.qs {
				if next := s.settle(a); q == a.Question && next != nil {
					s.qs[i] = *next
				}
			}
		},
	})
	for name, c := range s.clients {
		c.transport = s
		s.clients[name] = c
	}
	s.questions = func(now time.Time) ([]decide.Question, time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return append([]decide.Question{}, s.qs...), now.Add(s.ahead)
	}
	return s
}

const one = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`

// RoundTrip implements http.RoundTripper.
func (s *story) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Host
	s.mu.Lock()
	s.asked[host]++
	s.busy[host]++
	s.most[host] = max(s.most[host], s.busy[host])
	delay := s.delay(host)
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[host]--
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, err := s.serve(host)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// run runs the asker for so long.
func (s *story) run(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	time.Sleep(d)
	cancel()
	<-done
	synctest.Wait()
}

func question(gate, server string) decide.Question {
	return decide.Question{Key: fleet.Key{Namespace: "shop", Name: "web"}, Run: 7, Batch: 1, Gate: gate, Digest: "d", Server: server, Query: "up"}
}

// again asks a gate again after a while, as the fold of its answer says.
func again(in time.Duration) func(decide.Answer) *decide.Question {
	return func(a decide.Answer) *decide.Question {
		q := a.Question
		q.At = time.Now().Add(in)
		return &q
	}
}

func TestAGateIsAskedWhenItIsDueByTheLogsClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.ahead = -time.Hour
		later := question("errors", "main")
		later.At = time.Now().Add(-time.Hour + 30*time.Second)
		s.qs = []decide.Question{later}
		s.run(t, 29*time.Second)
		if len(s.answered) != 0 {
			t.Fatalf("before it is due: %+v", s.answered)
		}
		s.run(t, 3*time.Second)
		if diff := cmp.Diff([]decide.Answer{{Question: later, Value: 1}}, s.answered); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

func TestAnAnswerIsGivenOnceAndTheGateAskedAgainOnceThatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.qs, s.settle = []decide.Question{question("errors", "main")}, again(15*time.Second)
		s.run(t, time.Minute+time.Second)
		if len(s.answered) != 5 || s.asked["main"] != 5 {
			t.Errorf("in a minute of one answer each 15 s: %d answers of %d questions, want 5", len(s.answered), s.asked["main"])
		}
	})
}

func TestAnAnswerThatNeverBecomesAnEventIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.qs = []decide.Question{question("errors", "main")}
		s.run(t, 2*patience-time.Second)
		if len(s.answered) != 2 {
			t.Errorf("%d answers, want one at once and one after %s", len(s.answered), patience)
		}
	})
}

func TestAnotherDefinitionOfAGateIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.qs = []decide.Question{question("errors", "main")}
		s.settle = func(a decide.Answer) *decide.Question {
			q := a.Question
			q.Digest = "e"
			return &q
		}
		s.run(t, 2500*time.Millisecond)
		if len(s.answered) != 2 || s.answered[1].Digest != "e" {
			t.Errorf("answers %+v, want one about each definition", s.answered)
		}
	})
}

func TestAServerThatNobodyNamedIsSaidToBeUnknownAndHasNoSeries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		q := question("errors", "other")
		s.qs = []decide.Question{q}
		s.run(t, 2*time.Second)
		want := []decide.Answer{{Question: q, Error: "the operator has no Prometheus server named other: start it with --prometheus other=URL"}}
		if diff := cmp.Diff(want, s.answered); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if n := testutil.CollectAndCount(s.options.Metrics.queries); n != 3 {
			t.Errorf("%d series, want the three results of server main", n)
		}
	})
}

func TestAServerThatHangsIsGivenUpAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main", "slow")
		s.settle = again(15 * time.Second)
		s.delay = func(host string) time.Duration {
			if host == "slow" {
				return time.Hour
			}
			return 0
		}
		for i := range 30 {
			s.qs = append(s.qs, question(fmt.Sprintf("slow-%02d", i), "slow"))
		}
		s.qs = append(s.qs, question("z", "main"))
		s.run(t, 1500*time.Millisecond)
		if len(s.answered) != 1 || s.answered[0].Server != "main" {
			t.Errorf("after a second: %+v, want the answer of main alone", s.answered)
		}
		s.run(t, 24*time.Second)
		if s.most["slow"] != maxAtOnce {
			t.Errorf("%d questions at once, want %d", s.most["slow"], maxAtOnce)
		}
		given := map[string]bool{}
		for _, a := range s.answered {
			if a.Server == "slow" && a.Error != "Prometheus server slow did not answer within 5s" {
				t.Errorf("%+v", a)
			}
			given[a.Gate] = true
		}
		if len(given) != 31 {
			t.Errorf("%d gates had an answer, want all 31: those that waited longest come first", len(given))
		}
	})
}

func TestWhenAServerBeginsToFailAndAnswersAgainIsLoggedOnceEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.qs, s.settle = []decide.Question{question("errors", "main")}, again(2*time.Second)
		well, begun := func(string) (string, error) { return one, nil }, time.Now()
		s.serve = func(host string) (string, error) {
			switch at := time.Since(begun); {
			case at < 10*time.Second:
				return well(host)
			case at < 20*time.Second:
				return "", io.EOF
			case at < 30*time.Second:
				return `{"status":"success","data":{"resultType":"vector","result":[]}}`, nil // an answer, though no value
			default:
				return "", io.EOF
			}
		}
		s.run(t, 40*time.Second)
		text := s.log.String()
		if n := strings.Count(text, "level=WARN"); n != 2 {
			t.Errorf("%d warnings, want one for each time:\n%s", n, text)
		}
		if n := strings.Count(text, "level=INFO"); n != 1 {
			t.Errorf("%d times it is said that it answers again, want one:\n%s", n, text)
		}
		for r, want := range map[result]float64{gaveValue: 5, noValue: 5, failed: 10} {
			if got := testutil.ToFloat64(s.options.Metrics.queries.WithLabelValues("main", string(r))); got < want-1 || got > want+1 {
				t.Errorf("%v queries with result %s, want about %v", got, r, want)
			}
		}
		if n := testutil.CollectAndCount(s.registry, "fleet_operator_gate_query_seconds"); n != 1 {
			t.Errorf("%d histograms", n)
		}
	})
}

func TestAnAskerThatEndsGivesNoAnswerAndBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory("main")
		s.qs = []decide.Question{question("errors", "main")}
		s.delay = func(string) time.Duration { return 3 * time.Second }
		s.run(t, 2*time.Second)
		if len(s.answered) != 0 || s.busy["main"] != 0 {
			t.Errorf("the term ended before the answer: %+v, %d questions are open", s.answered, s.busy["main"])
		}
		s.run(t, 4*time.Second)
		if len(s.answered) != 1 {
			t.Errorf("the next term: %+v, want an answer", s.answered)
		}
	})
}
