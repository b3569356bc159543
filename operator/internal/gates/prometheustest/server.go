// Package prometheustest runs real Prometheus servers for tests, on what a test says.
package prometheustest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/needs"
)

// patience is how long a server may take to start, on a busy machine.
const patience = 30 * time.Second

// Server is a Prometheus server that scrapes, each second, the text of Say.
type Server struct {
	URL string

	tb   testing.TB
	dir  string
	said atomic.Pointer[string]
	end  func() // nil: it does not run
}

// Start starts a server on a free port. It ends with the test. A test is skipped where
// Prometheus is not installed: see package needs.
func Start(tb testing.TB) *Server {
	tb.Helper()
	needs.Program(tb, "prometheus", "apt-get install prometheus")
	s := &Server{tb: tb, dir: tb.TempDir()}
	s.Say("")
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, *s.said.Load()) // Prometheus notices when it fails
	}))
	tb.Cleanup(exporter.Close)
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- {job_name: test, static_configs: [{targets: [%q]}]}\n", exporter.Listener.Addr())
	if err := os.WriteFile(filepath.Join(s.dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	if why := s.run("127.0.0.1:0"); why != "" {
		tb.Fatal(why)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Say is what the server scrapes from now on, in the text format of Prometheus.
func (s *Server) Say(text string) { s.said.Store(&text) }

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.end != nil {
		s.end()
		s.end = nil
	}
}

// Restart starts a server that was killed, at its former address. Another process may
// have that port for a moment.
func (s *Server) Restart() {
	s.tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		why := s.run(s.URL[len("http://"):])
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatal(why)
		}
	}
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// run starts the process and waits until it answers; else it says why it does not.
func (s *Server) run(address string) string {
	log, err := os.Create(filepath.Join(s.dir, "prometheus.log"))
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	c := exec.CommandContext(s.tb.Context(), "prometheus", "--config.file="+filepath.Join(s.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+address)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err.Error()
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // it is killed
		close(ended)
	}()
	s.end = func() {
		_ = c.Process.Kill() // it may have ended
		<-ended
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		said, err := os.ReadFile(log.Name())
		if err != nil {
			return err.Error()
		}
		if at := listening.FindSubmatch(said); at != nil {
			s.URL = "http://" + string(at[1])
			if s.ready() {
				return ""
			}
		}
		select {
		case <-ended:
			s.end = nil
			return "Prometheus ended: " + string(bytes.TrimSpace(said))
		case <-tick.C:
		}
	}
	s.Kill()
	return "Prometheus does not get ready"
}

func (s *Server) ready() bool {
	r, err := http.NewRequestWithContext(s.tb.Context(), http.MethodGet, s.URL+"/-/ready", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
