package prometheus

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog/needs"
)

func TestTargetsOfAJobAreTogether(t *testing.T) {
	t.Parallel()
	got, err := render([]Target{
		{Job: "fleet-operator", Instance: "op", Address: "127.0.0.1:1"},
		{Job: "fleet-agent", Instance: "edge-01", Address: "127.0.0.1:2", Path: "/fleet-agent/edge-01/metrics"},
		{Job: "fleet-agent", Instance: "edge-02", Address: "127.0.0.1:2", Path: "/fleet-agent/edge-02/metrics"},
	}, "5s")
	if err != nil {
		t.Fatal(err)
	}
	want := `global:
  evaluation_interval: 5s
  scrape_interval: 5s
rule_files:
- fleet.rules.yaml
scrape_configs:
- job_name: fleet-operator
  static_configs:
  - labels:
      instance: op
    targets:
    - 127.0.0.1:1
- job_name: fleet-agent
  static_configs:
  - labels:
      __metrics_path__: /fleet-agent/edge-01/metrics
      instance: edge-01
    targets:
    - 127.0.0.1:2
  - labels:
      __metrics_path__: /fleet-agent/edge-02/metrics
      instance: edge-02
    targets:
    - 127.0.0.1:2
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestAPortThatIsTakenIsSaid(t *testing.T) {
	t.Parallel()
	needs.Program(t, "prometheus", "apt-get install prometheus")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Start(Options{Dir: t.TempDir(), Address: l.Addr().String(), Interval: "5s", Rules: []byte("groups: []\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Await(t.Context(), time.Minute); !errors.Is(err, ErrPortTaken) {
		t.Errorf("on a port that somebody has: %v", err)
	}
}

func TestAServerThatEndsByItselfIsAFailure(t *testing.T) {
	t.Parallel()
	needs.Program(t, "prometheus", "apt-get install prometheus")
	s, err := Start(Options{Dir: t.TempDir(), Address: "127.0.0.1:0", Interval: "5s", Rules: []byte("this is no rule file\n")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Run(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a server without rules that it can read: %v", err)
	}
}
