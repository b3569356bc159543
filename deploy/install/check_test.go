package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/chart"
)

// Where the check looks for the servers, and what install says to devices, for each way in
// that the chart has.
func TestTheURLsAreThoseThatTheValuesExpose(t *testing.T) {
	t.Parallel()
	devices := func(values chart.Values) chart.Values {
		return chart.Values{"devices": values, "callout": chart.Values{"enabled": false}}
	}
	const name = "devices.example.com"
	for what, tt := range map[string]struct {
		values chart.Values
		want   []string
	}{
		"no way in":                       {chart.Values{"expose": "none", "host": name}, nil},
		"a host that is not known":        {chart.Values{"expose": "loadBalancer"}, nil},
		"a load balancer":                 {chart.Values{"expose": "loadBalancer", "host": name}, []string{"wss://devices.example.com:443", "tls://devices.example.com:4222"}},
		"a load balancer's other port":    {chart.Values{"expose": "loadBalancer", "host": name, "loadBalancer": chart.Values{"websocketPort": 8443}}, []string{"wss://devices.example.com:8443", "tls://devices.example.com:4222"}},
		"ports of the nodes":              {chart.Values{"expose": "nodePort", "host": "192.0.2.7"}, []string{"wss://192.0.2.7:30443", "tls://192.0.2.7:30422"}},
		"a port that the cluster chooses": {chart.Values{"expose": "nodePort", "host": "192.0.2.7", "nodePort": chart.Values{"nats": nil}}, []string{"wss://192.0.2.7:30443"}},
		"an Ingress":                      {chart.Values{"expose": "ingress", "host": name}, []string{"wss://devices.example.com"}},
		"a Route":                         {chart.Values{"expose": "route", "host": name}, []string{"wss://devices.example.com"}},
		"a Gateway": {
			chart.Values{"expose": "httpRoute", "host": name, "httpRoute": chart.Values{"parentRefs": []any{chart.Values{"name": "web"}}}},
			[]string{"wss://devices.example.com"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, err := read(chart.Options{Profile: "lab", Values: devices(tt.values)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, outsideURLs(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
