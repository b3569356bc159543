package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/install/cluster"
)

// good is a cluster on which a production fleet can be installed.
func good() cluster.Facts {
	return cluster.Facts{
		Server: "https://cluster.test:6443", Version: "v1.34.2", Major: 1, Minor: 34, Distribution: cluster.Vanilla,
		Nodes: []cluster.Node{
			{Name: "a", Architecture: "amd64", Schedulable: true},
			{Name: "b", Architecture: "amd64", Schedulable: true},
			{Name: "c", Architecture: "arm64", Schedulable: true},
			{Name: "control", Architecture: "amd64"},
		},
		StorageClasses: []cluster.StorageClass{{Name: "slow", Provisioner: "nfs"}, {Name: "fast", Provisioner: "ebs", Default: true}},
		IngressClasses: []cluster.IngressClass{{Name: "nginx", Controller: "k8s.io/ingress-nginx"}},
		Groups:         []string{"apps", "cert-manager.io"},
		Namespace:      cluster.Namespace{Name: "fleet-system"},
	}
}

func production() cluster.Wish {
	return cluster.Wish{Servers: 3, Storage: true, Expose: cluster.ExposeLoadBalancer, Host: "devices.example.com", Architectures: []string{"amd64", "arm64"}}
}

func TestAGoodClusterIsTakenWithoutAWarning(t *testing.T) {
	t.Parallel()
	for _, f := range cluster.Preflight(good(), production()) {
		if f.Level != cluster.Note {
			t.Errorf("%s: %s", f.Level, f.Sentence)
		}
	}
}

func TestPreflightSaysWhatStandsInTheWay(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		facts func(*cluster.Facts)
		wish  func(*cluster.Wish)
		level cluster.Level
		says  string // part of the sentence
		does  string // part of the remedy
	}{
		"an old cluster": {func(f *cluster.Facts) { f.Minor, f.Version = 28, "v1.28.4" }, nil, cluster.Refuse, "v1.28.4", "1.30"},
		"a missing right": {nil, func(w *cluster.Wish) {
			w.Lacking = []cluster.Right{{Verb: "get", Resource: "namespaces"}, {Verb: "patch", Resource: "namespaces"}}
		}, cluster.Refuse, "You lack rights in the whole cluster: get and patch namespaces.", "cluster-admin"},
		"no storage class":           {func(f *cluster.Facts) { f.StorageClasses = nil }, nil, cluster.Refuse, "no storage class", "provisioner"},
		"no default storage class":   {func(f *cluster.Facts) { f.StorageClasses[1].Default = false }, nil, cluster.Refuse, "slow, fast", "nats.storage.class=slow"},
		"a storage class misspelt":   {nil, func(w *cluster.Wish) { w.StorageClass = "fats" }, cluster.Refuse, "no storage class fats", "nats.storage.class"},
		"volumes bound to nodes":     {func(f *cluster.Facts) { f.StorageClasses[1].Provisioner = "rancher.io/local-path" }, nil, cluster.Warn, "binds each volume", "three nodes"},
		"one node for three":         {func(f *cluster.Facts) { f.Nodes = f.Nodes[:1] }, nil, cluster.Warn, "1 node takes pods for 3 NATS servers", "--profile lab"},
		"one node for three apart":   {func(f *cluster.Facts) { f.Nodes = f.Nodes[:1] }, func(w *cluster.Wish) { w.Apart = true }, cluster.Refuse, "needs a node of its own", "ScheduleAnyway"},
		"a shared namespace":         {func(f *cluster.Facts) { f.Namespace.Exists = true }, nil, cluster.Warn, "is there already", "label this one"},
		"no node":                    {func(f *cluster.Facts) { f.Nodes = f.Nodes[3:] }, nil, cluster.Refuse, "None of the cluster's nodes", "uncordon"},
		"nodes without images":       {nil, func(w *cluster.Wish) { w.Architectures = []string{"amd64"} }, cluster.Refuse, "arm64", "PLATFORMS=linux/arm64"},
		"no ingress controller":      {func(f *cluster.Facts) { f.IngressClasses = nil }, func(w *cluster.Wish) { w.Expose = cluster.ExposeIngress }, cluster.Refuse, "no ingress controller", "nodePort"},
		"no default ingress class":   {nil, func(w *cluster.Wish) { w.Expose = cluster.ExposeIngress }, cluster.Refuse, "nginx", "className=nginx"},
		"an ingress class misspelt":  {nil, func(w *cluster.Wish) { w.Expose, w.IngressClass = cluster.ExposeIngress, "ngnix" }, cluster.Refuse, "no ingress class ngnix", "className"},
		"no class for the dashboard": {nil, func(w *cluster.Wish) { w.DashboardIngress = true }, cluster.Refuse, "nginx", "operator.dashboard.ingress.className=nginx"},
		"no controller for it":       {func(f *cluster.Facts) { f.IngressClasses = nil }, func(w *cluster.Wish) { w.DashboardIngress = true }, cluster.Refuse, "no ingress controller", "operator.dashboard.ingress.enabled=false"},
		"Routes on no OpenShift":     {nil, func(w *cluster.Wish) { w.Expose = cluster.ExposeRoute }, cluster.Refuse, "no Routes", "ingress"},
		"no name for devices":        {nil, func(w *cluster.Wish) { w.Host = "" }, cluster.Warn, "devices.host is empty", "--set devices.host"},
		"a clock ahead":              {func(f *cluster.Facts) { f.Skew = 90 * time.Second }, nil, cluster.Warn, "1m30s ahead of", "time server"},
		"a clock behind":             {func(f *cluster.Facts) { f.Skew = -90 * time.Second }, nil, cluster.Warn, "1m30s behind", "time server"},
		"a namespace that ends":      {func(f *cluster.Facts) { f.Namespace.Ending = true }, nil, cluster.Refuse, "being deleted", "Wait"},
		"the cluster's namespace":    {func(f *cluster.Facts) { f.Namespace.Name = "kube-system" }, nil, cluster.Refuse, "the cluster's own", "--namespace"},
		"something unreadable": {
			func(f *cluster.Facts) {
				f.StorageClasses = nil
				f.Unread = []cluster.Unread{{What: "storage classes", Err: errors.New("forbidden")}}
			}, nil, cluster.Warn, "storage classes could not be read: forbidden", "administrator",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, w := good(), production()
			if tt.facts != nil {
				tt.facts(&f)
			}
			if tt.wish != nil {
				tt.wish(&w)
			}
			found := cluster.Preflight(f, w)
			if found[0].Level != tt.level || !strings.Contains(found[0].Sentence, tt.says) || !strings.Contains(found[0].Remedy, tt.does) {
				t.Errorf("the first finding is %s: %s (%s)", found[0].Level, found[0].Sentence, found[0].Remedy)
			}
			for _, other := range found[1:] {
				if other.Level != cluster.Note {
					t.Errorf("beside it: %s: %s", other.Level, other.Sentence)
				}
			}
		})
	}
}
