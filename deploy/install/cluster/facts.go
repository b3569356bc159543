// Package cluster finds out what a Kubernetes cluster is and has, and says what of it
// stands in the way of an installation.
package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Distribution is whose Kubernetes it is.
type Distribution string

// The distributions that differ in what an installer must do.
const (
	OpenShift Distribution = "OpenShift"
	K3s       Distribution = "k3s"
	K3d       Distribution = "k3d"
	Vanilla   Distribution = "Kubernetes"
)

// API groups that are used only where a cluster has them.
const (
	GroupRoute       = "route.openshift.io"
	GroupCertManager = "cert-manager.io"
	GroupMonitoring  = "monitoring.coreos.com"
	GroupGateway     = "gateway.networking.k8s.io"
)

// Facts is what a cluster is and has. What could not be read is in Unread.
type Facts struct {
	Server         string // the API's URL
	Version        string // as the API server gives it, such as v1.33.4+k3s1
	Major, Minor   int
	Distribution   Distribution
	Nodes          []Node
	StorageClasses []StorageClass
	IngressClasses []IngressClass
	Groups         []string // API groups, sorted
	// APIVersions are what the cluster serves, as GROUP/VERSION and GROUP/VERSION/KIND.
	APIVersions []string
	Namespace   Namespace
	// Skew is how far the API server's clock is ahead of this machine's, within a
	// second or the time that a request takes.
	Skew   time.Duration
	Unread []Unread
}

// Node is one node.
type Node struct {
	Name         string
	Architecture string
	// Schedulable nodes are ready, not cordoned, and have no taint that keeps
	// ordinary pods away.
	Schedulable bool
}

// StorageClass is where claims go.
type StorageClass struct {
	Name, Provisioner string
	Default           bool
}

// IngressClass is a controller that serves Ingress objects.
type IngressClass struct {
	Name, Controller string
	Default          bool
}

// Namespace is the namespace that the fleet goes to.
type Namespace struct {
	Name    string
	Exists  bool
	Enforce string // level of Pod Security that is enforced; empty: none is
	Manager string // label app.kubernetes.io/managed-by
	Ending  bool   // it is being deleted
}

// Unread is something that could not be read, and why.
type Unread struct {
	What string
	Err  error
}

// Has says whether the cluster serves an API group.
func (f Facts) Has(group string) bool {
	_, found := slices.BinarySearch(f.Groups, group)
	return found
}

// DefaultStorage is the class of claims that name none.
func (f Facts) DefaultStorage() (StorageClass, bool) {
	i := slices.IndexFunc(f.StorageClasses, func(c StorageClass) bool { return c.Default })
	if i < 0 {
		return StorageClass{}, false
	}
	return f.StorageClasses[i], true
}

// Schedulable counts the nodes that take ordinary pods.
func (f Facts) Schedulable() int {
	n := 0
	for _, node := range f.Nodes {
		if node.Schedulable {
			n++
		}
	}
	return n
}

// Architectures lists the architectures of the nodes that take ordinary pods, sorted.
func (f Facts) Architectures() []string {
	var all []string
	for _, node := range f.Nodes {
		if node.Schedulable {
			all = append(all, node.Architecture)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Look finds out what the cluster is. It fails where the API does not answer; what a
// person may not read is in the facts' Unread.
func Look(ctx context.Context, config *rest.Config, namespace string, now func() time.Time) (Facts, error) {
	f := Facts{Server: config.Host, Namespace: Namespace{Name: namespace}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return f, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	if f.Skew, err = skew(ctx, config, now); err != nil {
		return f, err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return f, fmt.Errorf("version of the Kubernetes API at %s: %w", config.Host, err)
	}
	f.Version, f.Major, f.Minor = version.GitVersion, leading(version.Major), leading(version.Minor)
	groups, lists, err := client.Discovery().ServerGroupsAndResources()
	if discovery.IsGroupDiscoveryFailedError(err) { // an aggregated API may be away
		f.Unread = append(f.Unread, Unread{"API groups", err})
	} else if err != nil {
		return f, fmt.Errorf("API groups of the Kubernetes API at %s: %w", config.Host, err)
	}
	for _, g := range groups {
		f.Groups = append(f.Groups, g.Name)
	}
	slices.Sort(f.Groups)
	for _, list := range lists {
		f.APIVersions = append(f.APIVersions, list.GroupVersion)
		for _, r := range list.APIResources {
			f.APIVersions = append(f.APIVersions, list.GroupVersion+"/"+r.Kind)
		}
	}
	slices.Sort(f.APIVersions)
	f.APIVersions = slices.Compact(f.APIVersions)
	f.read("nodes", func() error { return f.readNodes(ctx, client) })
	f.read("storage classes", func() error { return f.readStorage(ctx, client) })
	f.read("ingress classes", func() error { return f.readIngress(ctx, client) })
	f.read("namespace "+namespace, func() error { return f.readNamespace(ctx, client) })
	f.Distribution = f.distribution()
	return f, nil
}

// read notes what could not be read. A kind that the cluster does not serve is no
// fault: there is none of it.
func (f *Facts) read(what string, look func() error) {
	if err := look(); err != nil && !apierrors.IsNotFound(err) {
		f.Unread = append(f.Unread, Unread{what, err})
	}
}

func (f *Facts) readNodes(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		f.Nodes = append(f.Nodes, Node{Name: n.Name, Architecture: n.Status.NodeInfo.Architecture, Schedulable: schedulable(n)})
		if strings.Contains(n.Status.NodeInfo.KubeletVersion, "+k3s") {
			f.Distribution = K3s
			if strings.HasPrefix(n.Name, "k3d-") {
				f.Distribution = K3d
			}
		}
	}
	return nil
}

func schedulable(n *corev1.Node) bool {
	if n.Spec.Unschedulable {
		return false
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule {
			return false
		}
	}
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func (f *Facts) readStorage(ctx context.Context, client kubernetes.Interface) error {
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, c := range classes.Items {
		f.StorageClasses = append(f.StorageClasses, StorageClass{c.Name, c.Provisioner, isDefaultStorage(c)})
	}
	return nil
}

func isDefaultStorage(c storagev1.StorageClass) bool {
	return c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
}

func (f *Facts) readIngress(ctx context.Context, client kubernetes.Interface) error {
	classes, err := client.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, c := range classes.Items {
		isDefault := c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
		f.IngressClasses = append(f.IngressClasses, IngressClass{c.Name, c.Spec.Controller, isDefault})
	}
	return nil
}

func (f *Facts) readNamespace(ctx context.Context, client kubernetes.Interface) error {
	ns, err := client.CoreV1().Namespaces().Get(ctx, f.Namespace.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	f.Namespace.Exists = true
	f.Namespace.Enforce = ns.Labels["pod-security.kubernetes.io/enforce"]
	f.Namespace.Manager = ns.Labels["app.kubernetes.io/managed-by"]
	f.Namespace.Ending = ns.DeletionTimestamp != nil
	return nil
}

// distribution asks what the cluster serves; what its nodes say was read before.
func (f Facts) distribution() Distribution {
	switch {
	case f.Has(GroupRoute) || f.Has("security.openshift.io"):
		return OpenShift
	case f.Distribution != "":
		return f.Distribution
	case strings.Contains(f.Version, "+k3s"):
		return K3s
	}
	return Vanilla
}

// skew compares the date in an answer of the API server with this machine's clock at
// the middle of the request.
func skew(ctx context.Context, config *rest.Config, now func() time.Time) (time.Duration, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return 0, fmt.Errorf("address of the Kubernetes API: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return 0, fmt.Errorf("address of the Kubernetes API: %w", err)
	}
	before := now()
	answer, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("the Kubernetes API at %s does not answer: %w", config.Host, err)
	}
	after := now()
	if err := answer.Body.Close(); err != nil {
		return 0, fmt.Errorf("the Kubernetes API at %s: %w", config.Host, err)
	}
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return 0, nil //nolint:nilerr // a proxy that gives no date: nothing is known, and nothing hangs on it
	}
	// The header has whole seconds, cut off: its middle is half a second later.
	return date.Add(500 * time.Millisecond).Sub(before.Add(after.Sub(before) / 2)), nil
}

// leading reads the number that a version begins with: some providers write "33+".
func leading(s string) int {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}
