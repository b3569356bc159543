package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StorageClass is the cluster's only one, and the default. Its volumes are directories
// of the node, which the provisioner of bin/kubenode makes.
const StorageClass = "directory"

// provisioner is the name of that provisioner.
const provisioner = "fleet.nationtech.io/directory"

// awaitReady waits until the node, started at that moment, takes pods.
func (n *Node) awaitReady(ctx context.Context, began time.Time) error {
	for _, c := range []struct {
		what  string
		check func(context.Context) error
	}{
		{"the node is Ready", func(ctx context.Context) error { return n.ready(ctx, began) }},
		{"there is a service account", n.hasServiceAccount},
		{"the DNS answers", n.answersNames},
	} {
		if err := until(ctx, c.what, func() error {
			// A request to an API server that goes down may wait for an answer for long.
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return c.check(ctx)
		}); err != nil {
			return err
		}
	}
	return nil
}

// ready looks whether this kubelet, and not the one before it, says that the node is so.
func (n *Node) ready(ctx context.Context, began time.Time) error {
	node, err := n.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		// Kubernetes counts whole seconds: what it says of the same one may be older.
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && c.LastHeartbeatTime.After(began) {
			return nil
		}
	}
	return fmt.Errorf("conditions %+v", node.Status.Conditions)
}

func (n *Node) hasServiceAccount(ctx context.Context) error {
	_, err := n.Client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

func (n *Node) answersNames(ctx context.Context) error {
	_, err := n.Lookup(ctx, "kubernetes.default.svc.cluster.local")
	return err
}

// Lookup asks the cluster's DNS for a name's addresses.
func (n *Node) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(n.Address.String(), "53"))
	}}
	return resolver.LookupNetIP(ctx, "ip4", host+".")
}

func (n *Node) addStorageClass(ctx context.Context) error {
	mode, policy := storagev1.VolumeBindingWaitForFirstConsumer, corev1.PersistentVolumeReclaimDelete
	_, err := n.Client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: StorageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: provisioner, VolumeBindingMode: &mode, ReclaimPolicy: &policy,
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// until asks until something is so or the context ends, and then gives the last error.
func until(ctx context.Context, what string, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s: %w", what, errors.Join(err, context.Cause(ctx)))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
