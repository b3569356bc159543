package promtest

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
)

// recordedFile has the series of a rollout of 200 agents: a canary that fails, a
// rollback, a second try. make record writes it.
const recordedFile = "testdata/rollout.series"

// lead is what is empty at the beginning of the recording.
const lead = 5 * time.Minute

// recording is what was recorded, in Prometheus' storage.
type recording struct {
	storage *teststorage.TestStorage
	engine  *promql.Engine
	step    time.Duration
	lasts   time.Duration
}

func recorded(t *testing.T) recording {
	t.Helper()
	text, err := os.ReadFile(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	r := recording{storage: promqltest.LoadedStorage(t, string(text)), engine: promqltest.NewTestEngine(t, false, 0, 50_000_000), step: 2 * time.Second}
	up := regexp.MustCompile(`(?m)^  up\{.*job="fleet-operator".*\} (.*)$`).FindSubmatch(text)
	if up == nil {
		t.Fatal("the operator was not scraped")
	}
	_, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc("up " + string(up[1]))
	if err != nil {
		t.Fatal(err)
	}
	r.lasts = time.Duration(len(values)-1) * r.step
	return r
}

func (r recording) moment(after time.Duration) time.Time { return time.Unix(0, 0).Add(after) }

// over gives the series of a query over the whole recording.
func (r recording) over(t *testing.T, expr string) promql.Matrix {
	t.Helper()
	q, err := r.engine.NewRangeQuery(t.Context(), r.storage, nil, expr, r.moment(0), r.moment(r.lasts), r.step)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return copied(m)
}

// copied outlives its query.
func copied(m promql.Matrix) promql.Matrix {
	all := make(promql.Matrix, len(m))
	for i, s := range m {
		all[i] = promql.Series{Metric: s.Metric.Copy(), Floats: append([]promql.FPoint(nil), s.Floats...)}
	}
	return all
}

// unanswered are queries that rightly have no answer in the story, and why.
var unanswered = map[string]string{
	"Device: Key ends in: A":                   "the development provider's keys have no end",
	"Rollouts: Time of an answer to a gate: A": "no rollout of the story has a gate",
	"Device: Drift: A":                         "nobody touches a container",
	"Device: Reports: B":                       "the log refuses no report",
	"Platform: Growth of the log: B":           "nobody writes a foreign message",
	"Platform: Buckets: C":                     "no bucket goes out of service",
	"Platform: Buckets: D":                     "the server refuses no message",
	"Platform: Requests without an answer: A":  "no login is dropped",
	"Platform: Connections of identities: B":   "no connection has to be ended",
}

func TestEachQueryHasAnAnswerInARealRollout(t *testing.T) {
	r := recorded(t)
	silent := map[string]bool{}
	for _, q := range queries(t) {
		points := 0
		for _, s := range r.over(t, filled(q.expr)) {
			for _, p := range s.Floats {
				if !math.IsNaN(p.F) { // a share of nothing is no answer
					points++
				}
			}
		}
		if points == 0 {
			silent[q.where] = true
			if unanswered[q.where] == "" {
				t.Errorf("%s has no answer: %s", q.where, filled(q.expr))
			}
		}
	}
	for where := range unanswered {
		if !silent[where] {
			t.Errorf("%s has an answer, or is not asked: take it off the list", where)
		}
	}
}

// The story is in what was recorded: else an answer would prove nothing.
func TestTheRecordingHasTheStory(t *testing.T) {
	r := recorded(t)
	const web = `deployment_namespace="default",deployment_name="web"`
	for what, expr := range map[string]string{
		"200 devices":                         `sum(fleet_rollout_devices{` + web + `}) == 200`,
		"a canary that fails":                 `fleet_rollout_devices{` + web + `,standing="failed"} == 2 and ignoring (standing) fleet_rollout_batch{` + web + `} == 1`,
		"a rollback":                          `fleet_rollout_events_total{type="rollout.started",reason="BatchFailed"} == 1`,
		"the end of the rollback":             `fleet_rollout_phase{` + web + `,phase="RolledBack"} == 1`,
		"a second try":                        `fleet_rollout_phase{` + web + `,phase="Progressing"} == 1 and ignoring (phase) fleet_rollout_revision{` + web + `} == 3`,
		"its end":                             `fleet_rollout_phase{` + web + `,phase="Completed"} == 1 and ignoring (phase, standing) fleet_rollout_devices{` + web + `,standing="healthy"} == 200`,
		"another Deployment that is paused":   `fleet_rollout_phase{deployment_name="cart",phase="Paused"} == 1`,
		"another that waits for an approval":  `fleet_rollout_waiting{deployment_name="api",reason="AwaitingApproval"} == 1`,
		"no more bad devices than the canary": `max_over_time(fleet_rollout_devices{` + web + `,standing="failed"}[1h]) <= 2`,
	} {
		if len(r.over(t, expr)) == 0 {
			t.Errorf("the recording has not: %s", what)
		}
	}
	info, err := os.Stat(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1<<20 {
		t.Errorf("it takes %s bytes, more than 1 MiB", strconv.FormatInt(info.Size(), 10))
	}
}
