package chart_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

// dashboard gives the values of a fleet that serves its dashboard so.
func dashboard(more chart.Values) chart.Values {
	return provider(chart.Values{"operator": chart.Values{"dashboard": chart.Merge(chart.Values{"enabled": true}, more)}})
}

// signIn is a dashboard at which persons sign in.
func signIn(more chart.Values) chart.Values {
	return dashboard(chart.Merge(chart.Values{"url": "https://fleet.example.com", "clientID": "7"}, more))
}

// served is what a cluster sees of the dashboard.
type served struct {
	Env     map[string]string // of the operator, without FLEET_DASHBOARD
	Listens string
	Port    int32  // of Service fleet-operator; 0: none
	Host    string // of the Ingress; "": none
	Mounts  []string
}

func servedBy(t *testing.T, values chart.Values) served {
	t.Helper()
	objects := render(t, chart.Options{Profile: "production", Values: values})
	got := served{Env: map[string]string{}}
	operator := pods(t, objects)[names.Operator].Spec
	for _, e := range operator.Containers[0].Env {
		if e.Name == "FLEET_DASHBOARD" {
			got.Listens = e.Value
		} else if name, of := strings.CutPrefix(e.Name, "FLEET_DASHBOARD_"); of {
			got.Env[name] = e.Value
		}
	}
	for _, m := range operator.Containers[0].VolumeMounts {
		if m.Name != "ca" {
			got.Mounts = append(got.Mounts, m.MountPath)
		}
	}
	for _, p := range typed[corev1.Service](t, find(objects, "Service", names.Operator)).Spec.Ports {
		if p.Name == "dashboard" {
			got.Port = p.Port
		}
	}
	if o := find(objects, "Ingress", names.Dashboard); o != nil {
		i := typed[networkingv1.Ingress](t, o)
		got.Host = i.Spec.Rules[0].Host
		if i.Spec.TLS[0].Hosts[0] != got.Host || i.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name != names.Operator {
			t.Errorf("the Ingress is %+v", i.Spec)
		}
	}
	return got
}

func TestTheDashboardIsServedAsTheValuesSay(t *testing.T) {
	t.Parallel()
	ingress := func(more chart.Values) chart.Values {
		return chart.Values{"ingress": chart.Merge(chart.Values{"enabled": true}, more)}
	}
	signedIn := map[string]string{"URL": "https://fleet.example.com", "ISSUER": "https://auth.example.com", "PROJECT": "1", "CLIENT_ID": "7"}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{signedIn, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	ofItsOwnCA := signIn(nil)
	ofItsOwnCA["callout"].(chart.Values)["issuerCA"] = true
	for name, tt := range map[string]struct {
		values chart.Values
		want   served
	}{
		"by default it is not served":                         {provider(), served{}},
		"without a sign-in it is for port-forward alone":      {dashboard(nil), served{Listens: "127.0.0.1:18080"}},
		"with a sign-in it is in the Service":                 {signIn(nil), served{Listens: ":18080", Port: 18080, Env: signedIn}},
		"the sign-in may be by port-forward":                  {signIn(chart.Values{"url": "http://localhost:18080"}), served{Listens: ":18080", Port: 18080, Env: with(map[string]string{"URL": "http://localhost:18080"})}},
		"an Ingress has the host of the url":                  {signIn(ingress(nil)), served{Listens: ":18080", Port: 18080, Env: signedIn, Host: "fleet.example.com"}},
		"a port of the url is none of the Ingress's host":     {signIn(chart.Merge(chart.Values{"url": "https://fleet.example.com:8443"}, ingress(nil))), served{Listens: ":18080", Port: 18080, Env: with(map[string]string{"URL": "https://fleet.example.com:8443"}), Host: "fleet.example.com"}},
		"the provider's own CA is that of the callout":        {ofItsOwnCA, served{Listens: ":18080", Port: 18080, Env: with(map[string]string{"ISSUER_CA_FILE": "/etc/fleet/issuer-ca/ca.crt"}), Mounts: []string{"/etc/fleet/issuer-ca"}}},
		"a confidential client has its secret in a file":      {signIn(chart.Values{"clientSecret": chart.Values{"name": "sso", "key": "secret"}}), served{Listens: ":18080", Port: 18080, Env: with(map[string]string{"CLIENT_SECRET_FILE": "/etc/fleet/dashboard/client-secret"}), Mounts: []string{"/etc/fleet/dashboard"}}},
		"open to the network it is in the Service":            {dashboard(chart.Values{"openToTheNetwork": true}), served{Listens: ":18080", Port: 18080, Env: map[string]string{"OPEN_TO_THE_NETWORK": "true"}}},
		"open to the network, an Ingress has a host of yours": {dashboard(chart.Merge(chart.Values{"openToTheNetwork": true}, ingress(chart.Values{"host": "f.example.com"}))), served{Listens: ":18080", Port: 18080, Env: map[string]string{"OPEN_TO_THE_NETWORK": "true"}, Host: "f.example.com"}},
		"a sign-in that is set up stays off until it is on":   {signIn(chart.Merge(chart.Values{"enabled": false}, ingress(nil))), served{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.want.Env == nil {
				tt.want.Env = map[string]string{}
			}
			if diff := cmp.Diff(tt.want, servedBy(t, tt.values)); diff != "" {
				t.Errorf("the dashboard (-want +got):\n%s", diff)
			}
		})
	}
}

// Half a sign-in is refused: it would be no sign-in.
func TestHalfADashboardIsRefused(t *testing.T) {
	t.Parallel()
	noCallout := signIn(nil)
	noCallout["callout"] = chart.Values{"enabled": false}
	env := func(enabled bool, name, value string) chart.Values {
		return provider(chart.Values{"operator": chart.Values{"dashboard": chart.Values{"enabled": enabled}, "env": []any{chart.Values{"name": name, "value": value}}}})
	}
	for name, tt := range map[string]struct {
		values chart.Values
		says   []string
	}{
		"an address without a client id":                     {dashboard(chart.Values{"url": "https://fleet.example.com"}), []string{"operator.dashboard.clientID is missing", "fleetctl zitadel setup --dashboard-url"}},
		"a client id without an address":                     {dashboard(chart.Values{"clientID": "7"}), []string{"operator.dashboard.url is missing"}},
		"a sign-in without a callout":                        {noCallout, []string{"needs callout.enabled=true", "kubectl port-forward"}},
		"a sign-in that is open":                             {signIn(chart.Values{"openToTheNetwork": true}), []string{"exclude each other"}},
		"a secret without a sign-in":                         {dashboard(chart.Values{"clientSecret": chart.Values{"name": "sso"}}), []string{"operator.dashboard.clientSecret needs operator.dashboard.url"}},
		"an Ingress without a sign-in":                       {dashboard(chart.Values{"ingress": chart.Values{"enabled": true, "host": "f.example.com"}}), []string{"operator.dashboard.ingress.enabled needs operator.dashboard.url", "loopback"}},
		"an Ingress of another name":                         {signIn(chart.Values{"ingress": chart.Values{"enabled": true, "host": "f.example.com"}}), []string{"ingress.host is f.example.com", "names fleet.example.com", "Leave ingress.host empty"}},
		"an open Ingress without a name":                     {dashboard(chart.Values{"openToTheNetwork": true, "ingress": chart.Values{"enabled": true}}), []string{"operator.dashboard.ingress.host is missing"}},
		"an address in clear":                                {signIn(chart.Values{"url": "http://fleet.example.com"}), []string{"value operator.dashboard.url", "http:// on the loopback alone"}},
		"an address with a path":                             {signIn(chart.Values{"url": "https://example.com/fleet"}), []string{"value operator.dashboard.url", "without a path"}},
		"a client id that YAML read as a number":             {signIn(chart.Values{"clientID": 317}), []string{"value operator.dashboard.clientID", "needs quotes in YAML"}},
		"an environment that says otherwise":                 {env(true, "FLEET_DASHBOARD_URL", "https://x.example.com"), []string{"operator.env sets FLEET_DASHBOARD_URL", "take it out of operator.env"}},
		"the port that the dashboard had before metrics did": {env(false, "FLEET_DASHBOARD", "127.0.0.1:18082"), []string{"port 18082", "operator.dashboard.enabled=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := chart.Render(chart.Options{Profile: "production", Values: tt.values})
			if err == nil {
				t.Fatal("it is rendered")
			}
			for _, want := range tt.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it says %q, and nothing with %q", err, want)
				}
			}
		})
	}
}

// The operator reaches the provider by the name that the callout reaches it by.
func TestWhereTheProviderIsTheOperatorKnowsAsTheCalloutDoes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values chart.Values
		want   bool
	}{"with a sign-in": {signIn(nil), true}, "without one": {dashboard(nil), false}} {
		tt.values["callout"].(chart.Values)["hostAliases"] = []any{chart.Values{"ip": "10.0.0.1", "hostnames": []any{"auth.example.com"}}}
		if got := len(pods(t, render(t, chart.Options{Values: tt.values}))[names.Operator].Spec.HostAliases) == 1; got != tt.want {
			t.Errorf("%s the operator has the aliases: %v", name, got)
		}
	}
}
