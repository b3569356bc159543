package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/secretfile"
)

// Env is what kubectl and fleetctl need to find the fleet.
type Env struct {
	Kubeconfig   string
	NATSURL      string
	NATSCA       string // file of the CA that signed the servers' certificates; empty: no TLS
	User         string // a person in the account FLEET
	Password     string
	OperatorURL  string // its metrics, its health and the events of the log
	MetricsURL   string
	DashboardURL string
	// PrometheusURL is empty where no Prometheus runs.
	PrometheusURL string
	SealKey       string // public, of the seals of the log
	// The lab user that simulated devices may share, in the account DEVICES.
	LabUser     string
	LabPassword string
}

// NATSOptions are what a client needs to trust the servers.
func (e Env) NATSOptions() []nats.Option {
	if e.NATSCA == "" {
		return nil
	}
	return []nats.Option{nats.RootCAs(e.NATSCA)}
}

// connectTimeout is how long a client waits for a server of the fleet, which shares its machine with
// all the rest.
const connectTimeout = 20 * time.Second

// Connect connects to the fleet's servers, as its person in the account FLEET where the options say
// nobody else.
func (e Env) Connect(options ...nats.Option) (*nats.Conn, error) {
	own := append(e.NATSOptions(), nats.UserInfo(e.User, e.Password), nats.Timeout(connectTimeout))
	return nats.Connect(e.NATSURL, append(own, options...)...)
}

// write puts shell assignments into a file, so that `set -a; . FILE` is enough.
// Its being there means that all is ready.
func (e Env) write(file string) error {
	var b strings.Builder
	for _, kv := range [][2]string{
		{"KUBECONFIG", e.Kubeconfig},
		{"FLEET_NATS_URL", e.NATSURL},
		{"FLEET_NATS_CA", e.NATSCA},
		{"FLEET_NATS_USER", e.User},
		{"FLEET_NATS_PASSWORD", e.Password},
		{"FLEET_OPERATOR_URL", e.OperatorURL},
		{"FLEET_METRICS_URL", e.MetricsURL},
		{"FLEET_DASHBOARD_URL", e.DashboardURL},
		{"FLEET_PROMETHEUS_URL", e.PrometheusURL},
		{"FLEET_SEAL_KEY", e.SealKey},
		{"FLEET_LAB_USER", e.LabUser},
		{"FLEET_LAB_PASSWORD", e.LabPassword},
	} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], shellQuote(kv[1]))
	}
	if err := secretfile.Write(file, []byte(b.String())); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func removeEnv(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old environment: %w", err)
	}
	return nil
}
