package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator"
)

func TestExit(t *testing.T) { // not parallel: run sets the process's logger
	tests := map[string]struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		"help is no failure":               {args: []string{"--help"}, code: 0, says: "$FLEET_NATS_URL"},
		"an unknown flag":                  {args: []string{"--nats"}, code: 2, says: "not defined"},
		"an argument":                      {args: []string{"start"}, code: 2, says: `unexpected argument "start"`},
		"a bad value in the environment":   {env: map[string]string{"FLEET_REPLICAS": "three"}, code: 2, says: "$FLEET_REPLICAS"},
		"a kubeconfig that is not there":   {args: []string{"--kubeconfig", "/nowhere"}, code: 2, says: "/nowhere"},
		"checkpoints after less than none": {args: []string{"--checkpoint-events", "-1"}, code: 2, says: "-checkpoint-events"},
		"neither a kubeconfig nor a pod":   {code: 2, says: "no --kubeconfig, and not in a pod"},
		"credentials and a user together":  {args: []string{"--nats-creds", "a", "--nats-user", "b"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "not both"},
		"a label source that is not known": {args: []string{"--device-labels", "any"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: `must be "reported" or "registered"`},
		"a seal key that is not there":     {args: []string{"--seal-key-file", "/nowhere"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "--seal-key-file: stat /nowhere"},
		"a negative seal interval":         {args: []string{"--seal-interval", "-1s"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "cannot be negative"},
		"a Prometheus server without name": {args: []string{"--prometheus", "http://a"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "write name=URL"},
		"a password in the environment":    {env: map[string]string{"KUBECONFIG": "testdata/kubeconfig", "FLEET_PROMETHEUS": "main=http://me:geheim@a"}, code: 2, says: "no user or password"},
		"a token file that is not there":   {args: []string{"--prometheus", "a=http://a", "--prometheus-token-file", "a=/nowhere"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "--prometheus-token-file a: stat /nowhere"},
		"a dashboard for the network":      {args: []string{"--dashboard", ":18080"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "or --dashboard-open-to-the-network"},
		"half of a sign-in":                {args: []string{"--dashboard", ":18080", "--dashboard-issuer", "https://id.example.org"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "give --dashboard-url, --dashboard-client-id, --dashboard-project too"},
		"a sign-in without a dashboard":    {args: []string{"--dashboard-url", "https://fleet.example.org"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "give --dashboard too"},
		"a dashboard without a port":       {args: []string{"--dashboard", "localhost"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 2, says: "is no address such as 127.0.0.1:18080"},
		"a NATS server that is not there":  {args: []string{"--nats-url", "nats://127.0.0.1:1", "--nats-wait", "0s"}, env: map[string]string{"KUBECONFIG": "testdata/kubeconfig"}, code: 1, says: "connect to NATS at nats://127.0.0.1:1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			code := run(tt.args, func(k string) string { return tt.env[k] }, &out)
			if code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("exit %d, %q; want %d, something with %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}

func TestCheckpointEvents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		env  map[string]string
		want int
	}{
		"by default":          {want: operator.DefaultCheckpointEvents},
		"as it is said":       {args: []string{"--checkpoint-events", "7"}, want: 7},
		"by the environment":  {env: map[string]string{"FLEET_CHECKPOINT_EVENTS": "9"}, want: 9},
		"0 switches them off": {args: []string{"--checkpoint-events=0"}, want: -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(append(tt.args, "--kubeconfig", "testdata/kubeconfig"), func(k string) string { return tt.env[k] }, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.options(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			if o.CheckpointEvents != tt.want {
				t.Errorf("CheckpointEvents is %d, want %d", o.CheckpointEvents, tt.want)
			}
		})
	}
}

func TestPrometheusServers(t *testing.T) {
	t.Parallel()
	a := operator.PrometheusServer{Name: "a", URL: "http://a"}
	b := operator.PrometheusServer{Name: "b", URL: "https://b", TokenFile: "testdata/kubeconfig"}
	tests := map[string]struct {
		args []string
		env  map[string]string
		want []operator.PrometheusServer
	}{
		"none":                   {},
		"given again":            {args: []string{"--prometheus", "a=http://a", "--prometheus", "b=https://b", "--prometheus-token-file", "b=testdata/kubeconfig"}, want: []operator.PrometheusServer{a, b}},
		"by the environment":     {env: map[string]string{"FLEET_PROMETHEUS": "a=http://a, b=https://b", "FLEET_PROMETHEUS_TOKEN_FILE": "b=testdata/kubeconfig"}, want: []operator.PrometheusServer{a, b}},
		"flags are the stronger": {args: []string{"--prometheus=a=http://a"}, env: map[string]string{"FLEET_PROMETHEUS": "c=http://c"}, want: []operator.PrometheusServer{a}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(append(tt.args, "--kubeconfig", "testdata/kubeconfig"), func(k string) string { return tt.env[k] }, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.options(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, o.Prometheus); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
		})
	}
}
