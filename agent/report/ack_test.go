package report

import (
	"testing"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// What others can aim at a device's inbox is no acknowledgement of its report: a
// report would count as told that the log never had.
func TestOnlyTheLogAcknowledges(t *testing.T) {
	t.Parallel()
	ack := `{"stream":"` + eventlog.LogStream + `","seq":7}`
	for name, test := range map[string]struct {
		answer nats.Msg
		ok     bool
		final  bool
	}{
		"the log's acknowledgement":                   {answer: nats.Msg{Data: []byte(ack)}, ok: true},
		"one that says that it was a repeat":          {answer: nats.Msg{Data: []byte(`{"stream":"` + eventlog.LogStream + `","seq":7,"duplicate":true}`)}, ok: true},
		"the same with a header, as a live value has": {answer: nats.Msg{Data: []byte(ack), Header: nats.Header{eventlog.HeaderSubject: {"x"}}}},
		"the same with a header, as a sync has":       {answer: nats.Msg{Data: []byte(ack), Header: nats.Header{eventlog.HeaderSync: {"n"}}}},
		"nobody listens":                              {answer: nats.Msg{Header: nats.Header{"Status": {"503"}}}},
		"of another stream":                           {answer: nats.Msg{Data: []byte(`{"stream":"KV_desired-state","seq":7}`)}},
		"without a sequence":                          {answer: nats.Msg{Data: []byte(`{"stream":"` + eventlog.LogStream + `"}`)}},
		"empty":                                       {},
		"a full log, which may be made larger":        {answer: nats.Msg{Data: []byte(`{"error":{"err_code":10077,"description":"maximum bytes exceeded"}}`)}},
		"a message that is too large for ever":        {answer: nats.Msg{Data: []byte(`{"error":{"err_code":10054,"description":"message size exceeds maximum allowed"}}`)}, final: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := acknowledged(&test.answer)
			if (err == nil) != test.ok {
				t.Errorf("acknowledged: %v, want it to be one: %t", err, test.ok)
			}
			if err != nil && isFinal(err) != test.final {
				t.Errorf("%v: final is %t, want %t", err, isFinal(err), test.final)
			}
		})
	}
}
