package chart_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

// end is one end of a connection: a pod with its labels and those of its namespace, or an
// address outside.
type end struct {
	pod, namespace map[string]string
	outside        bool
}

// network judges connections as NetworkPolicies of one namespace do.
type network struct {
	t        *testing.T
	policies []*networkingv1.NetworkPolicy
}

func matches(t *testing.T, s *metav1.LabelSelector, on map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(on))
}

func (n network) peer(p networkingv1.NetworkPolicyPeer, e end) bool {
	switch {
	case p.IPBlock != nil:
		return e.outside
	case e.outside:
		return false
	case p.NamespaceSelector != nil:
		return matches(n.t, p.NamespaceSelector, e.namespace) && (p.PodSelector == nil || matches(n.t, p.PodSelector, e.pod))
	}
	return e.namespace[ours] != "" && matches(n.t, p.PodSelector, e.pod)
}

// ours marks the fleet's own namespace.
const ours = "fleet"

func port(ports []networkingv1.NetworkPolicyPort, want int) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == want })
}

// side says whether the policies of one end let the connection to the other pass.
func (n network) side(at, other end, to int, direction networkingv1.PolicyType) bool {
	isolated := false
	for _, p := range n.policies {
		if at.outside || at.namespace[ours] == "" || !matches(n.t, &p.Spec.PodSelector, at.pod) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		isolated = true
		peer := func(q networkingv1.NetworkPolicyPeer) bool { return n.peer(q, other) }
		if direction == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if port(r.Ports, to) && (len(r.From) == 0 || slices.ContainsFunc(r.From, peer)) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if port(r.Ports, to) && (len(r.To) == 0 || slices.ContainsFunc(r.To, peer)) {
				return true
			}
		}
	}
	return !isolated
}

func (n network) passes(from, to end, port int) bool {
	return n.side(from, to, port, networkingv1.PolicyTypeEgress) && n.side(to, from, port, networkingv1.PolicyTypeIngress)
}

// The dashboard's port is open to those who may reach it, where persons sign in there.
func TestPoliciesLetPersonsToTheDashboard(t *testing.T) {
	t.Parallel()
	ingress := chart.Values{"namespaceSelector": chart.Values{"matchLabels": chart.Values{"kubernetes.io/metadata.name": "ingress"}}}
	among := func(v chart.Values, p chart.Values) chart.Values {
		v["networkPolicy"] = p
		return v
	}
	for name, tt := range map[string]struct {
		values                           chart.Values
		ingress, neighbour, provider, in bool // provider: the operator reaches it; in: monitoring reads metrics
	}{
		"no dashboard":                  {provider(), false, false, false, true},
		"on the loopback":               {dashboard(nil), false, false, false, true},
		"with a sign-in":                {signIn(nil), true, true, true, true},
		"with a sign-in, of some peers": {among(signIn(nil), chart.Values{"dashboard": []any{ingress}}), true, false, true, true},
		"without monitoring":            {among(signIn(nil), chart.Values{"prometheus": []any{}}), true, true, true, false},
		"nothing comes in at all":       {among(provider(), chart.Values{"prometheus": []any{}}), false, false, false, false},
		"open to the network":           {dashboard(chart.Values{"openToTheNetwork": true}), true, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.values["callout"].(chart.Values)["issuer"] = "https://auth.example.com:7443"
			objects := render(t, chart.Options{Profile: "production", Values: tt.values})
			n := network{t: t, policies: policies(t, objects)}
			operator := end{pod: pods(t, objects)[names.Operator].Labels, namespace: map[string]string{ours: "yes"}}
			from := func(namespace string) end {
				return end{pod: map[string]string{"app": namespace}, namespace: map[string]string{"kubernetes.io/metadata.name": namespace}}
			}
			for what, is := range map[string]struct{ got, want bool }{
				"the ingress reaches the dashboard":    {n.passes(from("ingress"), operator, names.PortDashboard), tt.ingress},
				"a neighbour reaches the dashboard":    {n.passes(from("shop"), operator, names.PortDashboard), tt.neighbour},
				"the operator reaches the provider":    {n.passes(operator, end{outside: true}, 7443), tt.provider},
				"monitoring reads the metrics":         {n.passes(from("monitoring"), operator, names.PortOperator), tt.in},
				"a neighbour reads the metrics":        {n.passes(from("shop"), operator, names.PortOperator), false},
				"the operator reaches any other place": {n.passes(operator, end{outside: true}, 22), false},
			} {
				if is.got != is.want {
					t.Errorf("%s: %v", what, is.got)
				}
			}
		})
	}
}

// policies are the NetworkPolicies of a rendering.
func policies(t *testing.T, objects []*unstructured.Unstructured) (all []*networkingv1.NetworkPolicy) {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == "NetworkPolicy" {
			all = append(all, typed[networkingv1.NetworkPolicy](t, o))
		}
	}
	return all
}

// What the parts need of each other gets through, and nothing else does.
func TestPoliciesLetThroughWhatTheFleetNeedsAlone(t *testing.T) {
	t.Parallel()
	values := provider(exposed("ingress", "devices.example.com"), chart.Values{"backup": chart.Values{"enabled": true, "store": "s3://b/p"}})
	values["operator"] = chart.Values{"prometheus": []any{chart.Values{"name": "main", "url": "http://prometheus.monitoring:9090"}}}
	values["callout"].(chart.Values)["issuer"] = "https://auth.example.com:7443"
	objects := render(t, chart.Options{Profile: "production", Values: values})
	n := network{t: t, policies: policies(t, objects)}
	ends := map[string]end{
		"monitoring": {pod: map[string]string{"app": "prometheus"}, namespace: map[string]string{"kubernetes.io/metadata.name": "monitoring"}},
		"ingress":    {pod: map[string]string{"app": "ingress"}, namespace: map[string]string{"kubernetes.io/metadata.name": "ingress"}},
		"neighbour":  {pod: map[string]string{"app": "other"}, namespace: map[string]string{ours: "yes"}},
		"world":      {outside: true},
	}
	for workload, p := range pods(t, objects) {
		ends[strings.TrimPrefix(workload, "fleet-")] = end{pod: p.Labels, namespace: map[string]string{ours: "yes"}}
	}
	want := []string{
		"backup -> nats:4222", "backup -> world:443",
		"callout -> nats:4222", "callout -> world:7443", "callout -> world:8443",
		"ingress -> nats:8080",
		"monitoring -> callout:18081", "monitoring -> nats:8080", "monitoring -> operator:18082",
		"nats -> nats:6222",
		"neighbour -> nats:8080",
		"operator -> nats:4222", "operator -> world:443", "operator -> world:6443", "operator -> world:9090",
		"world -> nats:8080",
	}
	ports := map[string][]int{
		"nats": {names.PortNATS, names.PortWebSocket, names.PortRoutes, names.PortMonitor}, "operator": {names.PortOperator, names.PortDashboard}, "callout": {names.PortCallout}, "backup": {80},
		"world": {22, 80, 443, 6443, 7443, 8443, 9090},
	}
	fleet := []string{"nats", "operator", "callout", "backup"}
	var got []string
	for _, from := range slices.Sorted(maps.Keys(ends)) {
		for _, to := range slices.Sorted(maps.Keys(ports)) {
			if to == "world" && !slices.Contains(fleet, from) {
				continue // not the fleet's affair
			}
			for _, p := range ports[to] {
				if n.passes(ends[from], ends[to], p) {
					got = append(got, from+" -> "+to+":"+strconv.Itoa(p))
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what gets through (-want +got):\n%s", diff)
	}
}

// By what devices come in, and who ends TLS there.
func TestDevicesComeInAsTheValuesSay(t *testing.T) {
	t.Parallel()
	route := func(termination string) chart.Values {
		return chart.Values{"devices": chart.Values{"expose": "route", "host": "d.example.com", "route": chart.Values{"termination": termination}}}
	}
	gateway := chart.Values{"devices": chart.Values{"expose": "httpRoute", "host": "d.example.com", "httpRoute": chart.Values{"parentRefs": []any{chart.Values{"name": "web"}}}}}
	for name, tt := range map[string]struct {
		values  chart.Values
		kind    string
		natsTLS bool // of WebSockets
	}{
		"not at all":          {exposed("none", ""), "", true},
		"NodePort":            {exposed("nodePort", ""), "Service", true},
		"LoadBalancer":        {exposed("loadBalancer", ""), "Service", true},
		"Ingress":             {exposed("ingress", "d.example.com"), "Ingress", false},
		"edge Route":          {route("edge"), "Route", false},
		"passthrough Route":   {route("passthrough"), "Route", true},
		"reencrypting Route":  {route("reencrypt"), "Route", true},
		"Gateway":             {gateway, "HTTPRoute", false},
		"Ingress to TLS pods": {chart.Values{"devices": chart.Values{"expose": "ingress", "host": "d.example.com", "websocketTLS": true}}, "Ingress", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := render(t, chart.Options{Profile: "production", Values: provider(tt.values)})
			for _, kind := range []string{"Service", "Ingress", "Route", "HTTPRoute"} {
				if there := find(objects, kind, names.Devices) != nil; there != (kind == tt.kind) {
					t.Errorf("%s %s is there: %v", kind, names.Devices, there)
				}
			}
			text, _, err := unstructured.NestedString(find(objects, "ConfigMap", names.NATS).Object, "data", "nats.conf")
			if err != nil {
				t.Fatal(err)
			}
			if plain := strings.Contains(text, "no_tls: true"); plain == tt.natsTLS {
				t.Errorf("WebSocket in clear: %v", plain)
			}
		})
	}
}
