// Package leader says which replica may try to lead: the one that holds the
// Lease. Whether it does lead is decided by its election in the log, which
// fences every append; the Lease only keeps the replicas from quarrelling.
package leader

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"fleet.nationtech.io/eventlog/pause"
)

// LeaseName is the Lease's name, in the operator's namespace.
const LeaseName = "fleet-operator"

// Candidate stands for the Lease.
type Candidate struct {
	Client    kubernetes.Interface
	Namespace string
	Identity  string
	Duration  time.Duration // how long a Lease holds without being renewed
	Deadline  time.Duration // how long renewing is tried before giving up
	Retry     time.Duration
	Logger    *slog.Logger
}

// Run stands for the Lease until the context ends. While it is held lead runs,
// with a context that ends when it is lost; when lead returns, the Lease is
// given up, and stood for again a little later. The namespace is made if it is
// missing.
func (c Candidate) Run(ctx context.Context, lead func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := c.stand(ctx, lead); err != nil && ctx.Err() == nil {
			c.Logger.Warn("not leading; will stand for the Lease again", "error", err)
		}
		pause.For(ctx, c.Retry/2+rand.N(c.Retry))
	}
	return nil
}

func (c Candidate) stand(ctx context.Context, lead func(context.Context) error) error {
	if err := c.ensureNamespace(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(c.Logger.Handler()))
	led := make(chan error, 1)
	held := &lease{LeaseLock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.Namespace, Name: LeaseName},
		Client:     c.Client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity},
	}}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          held,
		LeaseDuration: c.Duration, RenewDeadline: c.Deadline, RetryPeriod: c.Retry,
		ReleaseOnCancel: true,
		Name:            LeaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer cancel() // gives the Lease up
				led <- lead(ctx)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(ctx)
	cancel()
	if !held.acquired {
		return nil
	}
	return <-led // never two terms at once, not even in one process
}

// lease is the Lease, and remembers whether it was ever held: then lead was
// started, and its end has to be waited for.
type lease struct {
	*resourcelock.LeaseLock
	acquired bool
}

// RecordEvent is called by the elector once the Lease is held, before lead is
// started.
func (l *lease) RecordEvent(string) { l.acquired = true }

// ensureNamespace asks first: in most clusters the namespace is there, and the
// operator may not make any.
func (c Candidate) ensureNamespace(ctx context.Context) error {
	ns := c.Client.CoreV1().Namespaces()
	_, err := ns.Get(ctx, c.Namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		if err != nil {
			return fmt.Errorf("namespace %s: %w", c.Namespace, err)
		}
		return nil
	}
	_, err = ns.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("namespace %s: %w", c.Namespace, err)
	}
	return nil
}

// ClusterUID is what tells one cluster from another: the uid of the namespace
// kube-system.
func ClusterUID(ctx context.Context, client kubernetes.Interface) (string, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("uid of the cluster: %w", err)
	}
	return string(ns.UID), nil
}
