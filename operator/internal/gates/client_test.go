package gates

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answering is a client of a server that answers so.
func answering(t *testing.T, answer http.HandlerFunc) client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	transport := newTransport()
	t.Cleanup(transport.CloseIdleConnections)
	return client{server: Server{Name: "main", URL: server.URL}, transport: transport, timeout: time.Minute} // a busy machine
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// result is a successful response with a result of a type.
func resultOf(kind, value string) http.HandlerFunc {
	return says(http.StatusOK, fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, value))
}

func vector(values ...string) http.HandlerFunc {
	var samples []string
	for i, v := range values {
		samples = append(samples, fmt.Sprintf(`{"metric":{"i":"%d"},"value":[1,%q]}`, i, v))
	}
	return resultOf("vector", "["+strings.Join(samples, ",")+"]")
}

func TestWhatIsNoValueIsSaidInASentenceThatNamesTheServer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer http.HandlerFunc
		value  float64
		says   string // empty: the value counts
		result result
	}{
		"one sample":          {answer: vector("0.25"), value: 0.25, result: gaveValue},
		"a scalar":            {answer: resultOf("scalar", `[1,"-3"]`), value: -3, result: gaveValue},
		"no sample":           {answer: vector(), says: "Prometheus server main gave no sample, and a gate needs exactly one", result: noValue},
		"several samples":     {answer: vector("1", "2", "3"), says: "Prometheus server main gave 3 samples, and a gate needs exactly one: aggregate in the query, such as sum(...)", result: noValue},
		"NaN":                 {answer: vector("NaN"), says: "Prometheus server main gave NaN", result: noValue},
		"infinite":            {answer: vector("+Inf"), says: "gave an infinite value", result: noValue},
		"minus infinite":      {answer: resultOf("scalar", `[1,"-Inf"]`), says: "gave an infinite value", result: noValue},
		"a range of samples":  {answer: resultOf("matrix", `[{"metric":{},"values":[[1,"1"]]}]`), says: "gave a range of samples", result: noValue},
		"a text":              {answer: resultOf("string", `[1,"so"]`), says: "gave no number", result: noValue},
		"a histogram":         {answer: resultOf("vector", `[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]`), says: "gave a histogram", result: noValue},
		"a part of the truth": {answer: says(200, `{"status":"success","warnings":["store a\nis away"],"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`), says: "main warned, so its answer does not count: store a is away", result: noValue},
		"a value with advice": {answer: says(200, `{"status":"success","warnings":["PromQL info: might be no counter"],"infos":["PromQL info: so"],"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`), value: 1, result: gaveValue},
		"more than fits":      {answer: says(200, `{"status":"success","data":"`+strings.Repeat("x", maxResponse)+`"}`), says: "main gave more than 1 MiB", result: noValue},
		"a query that it cannot read": {
			answer: says(400, `{"status":"error","errorType":"bad_data","error":"1:5: parse error:\n unexpected end"}`),
			says:   "Prometheus server main refused the query: 1:5: parse error: unexpected end", result: failed,
		},
		"a query that it cannot do": {answer: says(422, `{"status":"error","errorType":"execution","error":"many-to-many matching"}`), says: "main refused the query: many-to-many matching", result: failed},
		"words without an end":      {answer: says(422, `{"status":"error","errorType":"execution","error":"`+strings.Repeat("ü", 1000)+`"}`), says: "ü…", result: failed},
		"a query that takes too long": {
			answer: says(422, `{"status":"error","errorType":"timeout","error":"query timed out"}`), says: "main gave the query up: query timed out", result: failed,
		},
		"a proxy's HTTP 400":         {answer: says(400, "<html>"), says: "main answered with HTTP 400", result: failed},
		"no login":                   {answer: says(401, "who?"), says: "refused the operator (HTTP 401): check --prometheus-token-file main=FILE", result: failed},
		"not allowed":                {answer: says(403, ""), says: "refused the operator (HTTP 403)", result: failed},
		"no Prometheus":              {answer: says(404, "nothing here"), says: "gave no answer of Prometheus (HTTP 404): check the URL of --prometheus main", result: failed},
		"too many questions":         {answer: says(429, ""), says: "answered with HTTP 429", result: failed},
		"a server in trouble":        {answer: says(500, "oops"), says: "answered with HTTP 500", result: failed},
		"a server that is not ready": {answer: says(503, ""), says: "answered with HTTP 503", result: failed},
		"a page":                     {answer: says(200, "<html>"), says: "gave no answer of Prometheus (HTTP 200)", result: failed},
		"nothing":                    {answer: says(204, ""), says: "gave no answer of Prometheus (HTTP 204)", result: failed},
		"an empty success":           {answer: says(200, `{"status":"success"}`), says: "gave no number", result: noValue},
		"a connection that ends":     {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, says: "Prometheus server main cannot be reached: it closed the connection", result: failed},
		"a redirect":                 {answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/else", http.StatusFound) }, says: "redirects (HTTP 302), which the operator does not follow", result: failed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := answering(t, tt.answer)
			got := c.ask(t.Context(), "up")
			if got.value != tt.value || got.result != tt.result || (got.no == "") != (tt.says == "") || !strings.Contains(got.no, tt.says) {
				t.Errorf("%+v, want value %v, %s, something with %q", got, tt.value, tt.result, tt.says)
			}
			if strings.Contains(got.no, "\n") || len(got.no) > 600 || strings.Contains(got.no, "127.0.0.1") {
				t.Errorf("this is not one short sentence without an address: %q", got.no)
			}
			if asked := tt.result == failed && !strings.Contains(tt.says, "refused the query") && name != "words without an end"; (got.cause != nil) != asked {
				t.Errorf("the cause for the operator's log is %v", got.cause)
			}
		})
	}
}

func TestTheQueryReachesTheServerAsItIs(t *testing.T) {
	t.Parallel()
	const query = `sum(rate(a{b="c d"}[1m])) > 0 & "ü"`
	asked := make(chan string, 2)
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path + " " + r.FormValue("query") + " " + r.FormValue("time") + r.FormValue("timeout")
		vector("1")(w, r)
	})
	c.server.URL += "/prom/"
	if got := c.ask(t.Context(), query); got.no != "" {
		t.Fatal(got)
	}
	if got, want := <-asked, "POST /prom/api/v1/query "+query+" 1m0s"; got != want {
		t.Errorf("the server was asked %q, want %q", got, want)
	}
}

func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"before it says anything": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the middle of what it says": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"status":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := answering(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body) // until then the server does not notice who hangs up
				answer(w, r)
			})
			c.timeout = 50 * time.Millisecond
			if got := c.ask(t.Context(), "up"); got.no != "Prometheus server main did not answer within 50ms" || got.result != failed {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAServerThatIsNotThereIsNamedAndItsAddressIsNot(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	secure := httptest.NewTLSServer(vector("1"))
	t.Cleanup(secure.Close)
	plainly := httptest.NewServer(vector("1"))
	t.Cleanup(plainly.Close)
	for address, want := range map[string]string{
		gone.URL:                            "connection refused",
		"http://prometheus.invalid:9090":    "its name is not resolved",
		secure.URL:                          "its certificate is not trusted",
		"https" + plainly.URL[len("http"):]: "it does not speak TLS",
	} {
		transport := newTransport()
		t.Cleanup(transport.CloseIdleConnections)
		c := client{server: Server{Name: "main", URL: address}, transport: transport, timeout: time.Minute}
		if got := c.ask(t.Context(), "up"); got.no != "Prometheus server main cannot be reached: "+want || got.cause == nil {
			t.Errorf("%s: %+v, want %q", address, got, want)
		}
	}
}

func TestATokenIsReadAnewForEachQuestionAndGoesToItsServerAlone(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		vector("1")(w, r)
	}))
	t.Cleanup(other.Close)
	redirect := atomic.Bool{}
	heard := make(chan string, 1)
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if redirect.Load() {
			http.Redirect(w, r, other.URL+"/api/v1/query", http.StatusTemporaryRedirect)
			return
		}
		heard <- r.Header.Get("Authorization")
		vector("1")(w, r)
	})
	c.server.TokenFile = filepath.Join(t.TempDir(), "token")
	for _, token := range []string{"first", "second"} {
		if err := os.WriteFile(c.server.TokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.ask(t.Context(), "up"); got.no != "" {
			t.Fatal(got)
		}
		if got := <-heard; got != "Bearer "+token {
			t.Errorf("the server heard %q, want the token %s", got, token)
		}
	}
	redirect.Store(true)
	if got := c.ask(t.Context(), "up"); !strings.Contains(got.no, "redirects (HTTP 307)") || elsewhere.Load() != 0 {
		t.Errorf("%+v, and the other server was asked %d times", got, elsewhere.Load())
	}
	redirect.Store(false)
	for name, text := range map[string]string{"an empty file": " \n", "two words": "geheim wort", "a line break": "geheim\nwort", "no token's characters": "gehe\x00im", "a file that is too large": strings.Repeat("geheim", maxToken)} {
		if err := os.WriteFile(c.server.TokenFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := c.ask(t.Context(), "up")
		if got.no != "the token for Prometheus server main cannot be read: check the file of --prometheus-token-file main" || got.cause == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if strings.Contains(fmt.Sprint(got.cause), "geheim") {
			t.Errorf("%s: the token is told: %v", name, got.cause)
		}
	}
	if err := os.Remove(c.server.TokenFile); err != nil {
		t.Fatal(err)
	}
	if got := c.ask(t.Context(), "up"); !strings.Contains(got.no, "cannot be read") || !strings.Contains(fmt.Sprint(got.cause), "no such file") {
		t.Errorf("without the file: %+v", got)
	}
}
