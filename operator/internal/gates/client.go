package gates

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// timeout is how long a server may take for an answer.
const timeout = 5 * time.Second

// client asks one server.
type client struct {
	server    Server
	transport http.RoundTripper
	timeout   time.Duration
}

// newTransport gives the connections that all questions share.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxIdleConnsPerHost = maxAtOnce
	return t
}

// reply is what came of a question.
type reply struct {
	value float64
	// no says why the value does not count, in a sentence that names the server and has no
	// address: it goes into the log, which cannot forget. Empty: the value counts.
	no     string
	result result
	cause  error // of the server's failure, for the operator's own log; nil: the server is well
}

// result is the kind of a reply.
type result string

const (
	gaveValue result = "value"
	noValue   result = "no_value" // the server answered, and not with one number
	failed    result = "error"    // the server did not answer, or refused
)

// ask asks the server for the query's value now.
func (c client) ask(ctx context.Context, query string) reply {
	token, err := readToken(c.server.TokenFile)
	if err != nil {
		return c.failed(err, "the token for %s cannot be read: check the file of --prometheus-token-file %s", c.name(), c.server.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	x := &exchange{transport: c.transport, token: token}
	http, err := api.NewClient(api.Config{Address: c.server.URL, Client: x.client()})
	if err != nil {
		return c.failed(err, "the URL of %s cannot be read: check --prometheus %s", c.name(), c.server.Name)
	}
	// Without a time the server takes its own: the clocks of the two may differ.
	value, warnings, _, err := promv1.NewAPI(http).Query(ctx, query, time.Time{}, promv1.WithTimeout(c.timeout))
	switch {
	case err != nil:
		return c.refused(ctx, x.status, err)
	case incomplete(warnings) != "":
		return c.noValue("%s warned, so its answer does not count: %s", c.name(), plain(incomplete(warnings)))
	}
	return c.read(value)
}

// read takes the one number out of what a server answered.
func (c client) read(value model.Value) reply {
	var sample model.SampleValue
	switch v := value.(type) {
	case *model.Scalar:
		sample = v.Value
	case model.Vector:
		switch {
		case len(v) == 0:
			return c.noValue("%s gave no sample, and a gate needs exactly one: check the query's names and labels, or add a default, such as ... or vector(0)", c.name())
		case len(v) > 1:
			return c.noValue("%s gave %d samples, and a gate needs exactly one: aggregate in the query, such as sum(...)", c.name(), len(v))
		case v[0].Histogram != nil:
			return c.noValue("%s gave a histogram, and a gate needs one number: use a function such as histogram_quantile(...)", c.name())
		}
		sample = v[0].Value
	case model.Matrix:
		return c.noValue("%s gave a range of samples, and a gate needs exactly one: use a function such as rate(...) or max_over_time(...)", c.name())
	default:
		return c.noValue("%s gave no number, and a gate needs one", c.name())
	}
	switch f := float64(sample); {
	case math.IsNaN(f):
		return c.noValue("%s gave NaN, which is no number: the query divides zero by zero, or its samples are NaN", c.name())
	case math.IsInf(f, 0):
		return c.noValue("%s gave an infinite value, which is no number: does the query divide by zero?", c.name())
	default:
		return reply{value: f, result: gaveValue}
	}
}

// incomplete gives the first warning for which an answer may be wrong, such as that a
// source did not answer. What older servers list beside it is advice.
func incomplete(warnings promv1.Warnings) string {
	for _, w := range warnings {
		if !strings.HasPrefix(w, "PromQL info:") {
			return w
		}
	}
	return ""
}

func (c client) name() string { return "Prometheus server " + c.server.Name }

func (c client) noValue(format string, args ...any) reply {
	return reply{no: fmt.Sprintf(format, args...), result: noValue}
}

func (c client) failed(cause error, format string, args ...any) reply {
	return reply{no: fmt.Sprintf(format, args...), result: failed, cause: cause}
}
