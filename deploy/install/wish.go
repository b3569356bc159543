package install

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"fleet.nationtech.io/deploy/chart"
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
		} `json:"tls"`
	} `json:"nats"`
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

func (r *run) settings() (settings, error) {
	var s settings
	values, err := chart.Effective(r.chartOptions())
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

// wish is what the values need of the cluster.
func (r *run) wish(s settings) cluster.Wish {
	r.result.URLs = outsideURLs(s)
	servers := s.NATS.Replicas
	if !s.NATS.Enabled {
		servers = 0
	}
	return cluster.Wish{
		Servers: servers, Apart: s.NATS.Spread == "DoNotSchedule", Storage: s.NATS.Enabled, StorageClass: s.NATS.Storage.Class, Architectures: r.Architectures,
		Expose: s.Devices.Expose, Host: s.Devices.Host, IngressClass: s.Devices.Ingress.ClassName,
	}
}

// sameAsBefore says whether the record has nothing new to remember.
func (r *run) sameAsBefore() bool {
	b := r.before
	return b.Version == r.Version && b.Profile == r.Profile && b.ImagesFrom == r.ImagesFrom && sameValues(b.Values, r.Values) &&
		slices.Equal(b.Objects, union(r.refs, nil)) && slices.Equal(b.Secrets, r.wanted())
}

// Merged puts values over others, and leaves both as they are.
func Merged(under, over chart.Values) chart.Values {
	all := maps.Clone(under)
	if all == nil {
		all = chart.Values{}
	}
	for key, value := range over {
		below, isMap := all[key].(chart.Values)
		above, alsoMap := value.(chart.Values)
		if isMap && alsoMap {
			value = Merged(below, above)
		}
		all[key] = value
	}
	return all
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
