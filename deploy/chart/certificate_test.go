package chart_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

// A certificate of cert-manager has the names that one of the fleet's own authority has.
func TestACertificateOfCertManagerHasTheServersNames(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		host      string
		namespace string
		dns, ips  []string
	}{
		"no host":    {ips: []string{"127.0.0.1"}},
		"a name":     {host: "devices.example.com", namespace: "edge", dns: []string{"devices.example.com"}, ips: []string{"127.0.0.1"}},
		"an address": {host: "192.0.2.10", ips: []string{"127.0.0.1", "192.0.2.10"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := provider(chart.Values{
				"nats":    chart.Values{"tls": chart.Values{"certManager": chart.Values{"issuer": "corporate"}}},
				"devices": chart.Values{"expose": "nodePort", "host": tt.host},
			})
			objects := render(t, chart.Options{Profile: "production", Values: values, Namespace: tt.namespace})
			spec := find(objects, "Certificate", "fleet-nats").Object["spec"].(map[string]any)
			dns, _, err := unstructured.NestedStringSlice(spec, "dnsNames")
			if err != nil {
				t.Fatal(err)
			}
			ips, _, err := unstructured.NestedStringSlice(spec, "ipAddresses")
			if err != nil {
				t.Fatal(err)
			}
			namespace := tt.namespace
			if namespace == "" {
				namespace = names.Namespace
			}
			if diff := cmp.Diff(slices.Concat(names.CertificateNames(namespace), tt.dns), dns); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.ips, ips); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if spec["secretName"] != names.SecretTLS {
				t.Errorf("its Secret is %v", spec["secretName"])
			}
		})
	}
	if o := find(render(t, chart.Options{Values: provider()}), "Certificate", "fleet-nats"); o != nil {
		t.Error("without an issuer there is a Certificate")
	}
}
