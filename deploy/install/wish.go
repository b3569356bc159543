package install

import (
	"encoding/json"
	"fmt"
	"slices"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/cluster"
)

// settings are the chart's values that the installer itself looks at.
type settings struct {
	NATS struct {
		Enabled  bool   `json:"enabled"`
		Replicas int    `json:"replicas"`
		Spread   string `json:"spread"`
		Storage  struct {
			Class string `json:"class"`
		} `json:"storage"`
		TLS struct {
			ClientsSecret string `json:"clientsSecret"`
			RoutesSecret  string `json:"routesSecret"`
			CertManager   struct {
				Issuer      string `json:"issuer"`
				Kind        string `json:"kind"`
				Duration    string `json:"duration"`
				RenewBefore string `json:"renewBefore"`
			} `json:"certManager"`
		} `json:"tls"`
	} `json:"nats"`
	Operator struct {
		Dashboard dashboardSettings `json:"dashboard"`
	} `json:"operator"`
	Callout struct {
		Enabled       bool   `json:"enabled"`
		Issuer        string `json:"issuer"`
		Introspection bool   `json:"introspection"`
		IssuerCA      bool   `json:"issuerCA"`
	} `json:"callout"`
	Devices struct {
		Expose  cluster.Expose `json:"expose"`
		Host    string         `json:"host"`
		Ingress struct {
			ClassName string `json:"className"`
		} `json:"ingress"`
		NodePort struct {
			NATS      int `json:"nats"`
			WebSocket int `json:"websocket"`
		} `json:"nodePort"`
		LoadBalancer struct {
			WebSocketPort int `json:"websocketPort"`
		} `json:"loadBalancer"`
	} `json:"devices"`
}

// read reads the settings out of the values that the chart is rendered with.
func read(o chart.Options) (settings, error) {
	var s settings
	values, err := chart.Effective(o)
	if err != nil {
		return s, err
	}
	text, err := json.Marshal(values)
	if err != nil {
		return s, fmt.Errorf("values: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("values: %w", err)
	}
	return s, nil
}

// issued says whether cert-manager keeps the servers' certificate.
func (s settings) issued() bool { return s.NATS.Enabled && s.NATS.TLS.CertManager.Issuer != "" }

// ownCertificate says whether the servers' certificate is of the fleet's own authority.
func (s settings) ownCertificate() bool {
	return !s.issued() && (s.NATS.TLS.ClientsSecret == names.SecretTLS || s.NATS.TLS.RoutesSecret == names.SecretTLS)
}

// wish is what the values need of the cluster.
func (r *run) wish() cluster.Wish {
	s := r.settings
	servers := s.NATS.Replicas
	if !s.NATS.Enabled {
		servers = 0
	}
	return cluster.Wish{
		Servers: servers, Apart: s.NATS.Spread == "DoNotSchedule", Storage: s.NATS.Enabled, StorageClass: s.NATS.Storage.Class, Architectures: r.Architectures,
		Expose: s.Devices.Expose, Host: s.Devices.Host, IngressClass: s.Devices.Ingress.ClassName,
		DashboardIngress: s.Operator.Dashboard.Enabled && s.Operator.Dashboard.Ingress.Enabled, DashboardClass: s.Operator.Dashboard.Ingress.ClassName,
	}
}

// recorded says whether just this is installed already: then there is nothing to
// remember, and a second run writes nothing.
func (r *run) recorded() bool {
	b := r.before
	return b != nil && b.State == Installed && b.Version == r.Version && b.Profile == r.Profile && b.ImagesFrom == r.ImagesFrom && sameValues(b.Values, r.Values) &&
		slices.Equal(b.Objects, union(r.refs, nil)) && slices.Equal(b.Secrets, r.wanted())
}

// sameValues compares values as JSON: an int of a flag is the float of a file.
func sameValues(a, b chart.Values) bool {
	if len(a)+len(b) == 0 {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
