package examine

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/install/health"
	"fleet.nationtech.io/deploy/install/tunnel"
	"fleet.nationtech.io/projections/attention"
)

// cluster is a look at Kubernetes that goes on.
type cluster struct {
	doctor.Kubernetes
	client    kube.Interface
	crds      apiext.Interface
	namespace string
	now       func() time.Time
	ahead     time.Duration
	// way opens a way to the monitoring port of a pod, and gives its address.
	way func(ctx context.Context, pod string) (address string, end func(), err error)
}

// Kubernetes gathers what the cluster tells of the server side in a namespace. now is this
// machine's clock, and ahead how far that of the NATS servers is ahead of it: theirs is better
// kept than that of a laptop. What this user may not read is in Unread.
func Kubernetes(ctx context.Context, config *rest.Config, name, namespace string, now func() time.Time, ahead time.Duration) *doctor.Kubernetes {
	c := cluster{namespace: namespace, now: now, ahead: ahead, Kubernetes: doctor.Kubernetes{
		Cluster: name, NotReady: map[string]string{}, Images: map[string]string{}, Certificates: map[string]attention.Certificate{},
	}}
	config = rest.CopyConfig(config)
	config.Timeout = patience
	var err error
	if c.client, err = kube.NewForConfig(config); err == nil {
		c.crds, err = apiext.NewForConfig(config)
	}
	if err == nil {
		_, err = c.client.Discovery().ServerVersion()
	}
	if err != nil {
		c.Trouble = &doctor.Trouble{Message: fmt.Sprintf("the cluster %s does not answer: %v", name, err), Remedy: "kubectl version; or another cluster: --kubeconfig, --kube-context"}
		return &c.Kubernetes
	}
	c.way = func(ctx context.Context, pod string) (string, func(), error) {
		t, err := tunnel.Open(ctx, config, namespace, pod, names.PortMonitor)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("http://127.0.0.1:%d", t.Port), t.Close, nil
	}
	c.definitions(ctx)
	c.workloads(ctx)
	c.lease(ctx)
	c.configuration(ctx)
	c.members(ctx)
	c.certificate(ctx)
	return &c.Kubernetes
}

// unread notes what could not be read; false where there was no error.
func (c *cluster) unread(what string, err error) bool {
	if err == nil {
		return false
	}
	c.Unread = append(c.Unread, fmt.Sprintf("%s: %v", what, err))
	return true
}

func (c *cluster) definitions(ctx context.Context) {
	c.Defined = true
	for _, plural := range []string{"deployments", "devices", "disruptionbudgets"} {
		name := plural + "." + v1alpha1.GroupName
		crd, err := c.crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && !established(crd):
			c.Missing = append(c.Missing, name)
		case c.unread("CRD "+name, err):
			c.Defined = false
		}
	}
}

func established(crd *apiextensions.CustomResourceDefinition) bool {
	for _, cond := range crd.Status.Conditions {
		if cond.Type == apiextensions.Established {
			return cond.Status == apiextensions.ConditionTrue
		}
	}
	return false
}

// workloads looks at the pods of the server side. Where there is none of them the fleet's
// servers run elsewhere, as those of fleet-dev do.
func (c *cluster) workloads(ctx context.Context) {
	gone, found := map[string]string{}, false
	c.Surveyed = true
	for _, w := range []health.Workload{{Kind: "StatefulSet", Name: names.NATS}, {Kind: "Deployment", Name: names.Operator}, {Kind: "Deployment", Name: names.Callout}} {
		w.Namespace = c.namespace
		label := strings.ToLower(w.Kind) + "/" + w.Name
		world, err := health.Look(ctx, c.client, w)
		if c.unread(label, err) {
			c.Surveyed = false
			continue
		}
		switch {
		case world.Deployment != nil:
			c.Images[label] = tag(world.Deployment.Spec.Template.Spec.Containers[0].Image)
		case world.StatefulSet == nil:
			if w.Name != names.Callout { // a fleet without a provider has none
				gone[label] = "it is not in namespace " + c.namespace
			}
			continue
		}
		if world.StatefulSet != nil {
			if c.Servers = 1; world.StatefulSet.Spec.Replicas != nil {
				c.Servers = int(*world.StatefulSet.Spec.Replicas)
			}
		}
		found = true
		if s := health.Judge(world); !s.Ready {
			c.NotReady[label] = s.Summary
			if len(s.Reasons) > 0 {
				c.NotReady[label] += "; " + s.Reasons[0].Sentence
			}
		}
	}
	if c.Installed = found; found {
		for label, why := range gone {
			c.NotReady[label] = why
		}
	}
}

// tag is that of an image.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return ""
}

// lease looks when the operator that leads renewed its Lease, whose name is that of its
// workload.
func (c *cluster) lease(ctx context.Context) {
	l, err := c.client.CoordinationV1().Leases(c.namespace).Get(ctx, names.Operator, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || c.unread("the operator's Lease", err) || l.Spec.RenewTime == nil {
		return
	}
	c.LeaseAge = c.now().Add(c.ahead).Sub(l.Spec.RenewTime.Time)
}

// configuration looks whether the servers are told to write through to the disk.
func (c *cluster) configuration(ctx context.Context) {
	m, err := c.client.CoreV1().ConfigMaps(c.namespace).Get(ctx, names.NATS, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || c.unread("the NATS servers' configuration", err) {
		return
	}
	synced := false
	for _, text := range m.Data {
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, "#")
			fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n:=\"',", r) })
			synced = synced || len(fields) >= 2 && fields[0] == "sync_interval" && fields[1] == "always"
		}
	}
	c.Synced = &synced
}

// members asks each NATS server of itself, through its pod. It asks no more once a pod cannot be
// reached: then this user may not reach any, or each would take as long.
func (c *cluster) members(ctx context.Context) {
	for i := range c.Servers {
		m, err := c.member(ctx, fmt.Sprintf("%s-%d", names.NATS, i))
		if c.unread("what the NATS servers say of themselves, by their pods", err) {
			return
		}
		c.Members = append(c.Members, m)
	}
}

func (c *cluster) member(ctx context.Context, pod string) (doctor.Member, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	address, closeWay, err := c.way(ctx, pod)
	if err != nil {
		return doctor.Member{}, err
	}
	defer closeWay()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	return Monitored(ctx, client, address, pod, c.now)
}

// certificate looks when the servers' certificate ends.
func (c *cluster) certificate(ctx context.Context) {
	s, err := c.client.CoreV1().Secrets(c.namespace).Get(ctx, names.SecretTLS, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || c.unread("the NATS servers' certificate", err) {
		return
	}
	block, _ := pem.Decode(s.Data[names.KeyCert])
	if block == nil {
		return
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		c.Certificates[names.SecretTLS] = attention.Certificate{Begins: cert.NotBefore, Ends: cert.NotAfter}
	}
}
