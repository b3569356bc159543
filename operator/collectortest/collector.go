// Package collectortest is a trace collector in memory, which takes OTLP over HTTP as a
// real one does; for tests.
package collectortest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector keeps what it is sent.
type Collector struct {
	URL string // for OTLP over HTTP

	away  atomic.Bool
	asked atomic.Int64

	mu    sync.Mutex
	spans []Span
}

// Span is one that was sent. Ids are hexadecimal; Parent is empty where there is none.
type Span struct {
	Trace, ID, Parent string
	Name, Service     string
	Begin, End        time.Time
	Failed            bool
	Message           string
	Attributes        map[string]string
}

// Start starts a collector, which ends with the test.
func Start(t testing.TB) *Collector {
	c := &Collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL + "/v1/traces"
	return c
}

// Away says whether the collector refuses all that it is sent.
func (c *Collector) Away(away bool) { c.away.Store(away) }

// Asked is how often something was sent, taken or not.
func (c *Collector) Asked() int64 { return c.asked.Load() }

// Spans are those that were sent so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Trace are the spans of one trace. One that was sent again as it was is listed once.
func (c *Collector) Trace(id string) []Span {
	var out []Span
	for _, s := range c.Spans() {
		if s.Trace == id && !slices.ContainsFunc(out, func(o Span) bool { return o.ID == s.ID && o.Begin.Equal(s.Begin) && o.End.Equal(s.End) }) {
			out = append(out, s)
		}
	}
	return out
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked.Add(1)
	if c.away.Load() {
		http.Error(w, "the collector is away", http.StatusBadGateway)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var sent coltracepb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &sent)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.take(&sent)
	answer, err := proto.Marshal(&coltracepb.ExportTraceServiceResponse{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer) // who asked has gone away: nobody to tell
}

func (c *Collector) take(sent *coltracepb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.GetResourceSpans() {
		service := texts(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, Span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Name: s.GetName(), Service: service, Attributes: texts(s.GetAttributes()),
					Begin: moment(s.GetStartTimeUnixNano()), End: moment(s.GetEndTimeUnixNano()),
					Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
				})
			}
		}
	}
}

func moment(nanoseconds uint64) time.Time { return time.Unix(0, int64(nanoseconds)) } //nolint:gosec // until the year 2262

func texts(of []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range of {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *commonpb.AnyValue_BoolValue:
			out[kv.GetKey()] = strconv.FormatBool(v.BoolValue)
		}
	}
	return out
}
