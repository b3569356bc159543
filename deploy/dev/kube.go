package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/localapi"
)

// cluster is the Kubernetes API that the fleet is run from: a child of ours, or
// somebody's.
type cluster struct {
	config     *rest.Config
	kubeconfig string
	child      *localapi.API // nil: somebody's
	unnamed    error         // why nothing says who changes a Deployment; nil where the policies do
}

// policiesTimeout bounds how long the policies may take to be in force.
const policiesTimeout = 2 * time.Minute

func startCluster(ctx context.Context, o Options) (*cluster, error) {
	if o.Kubeconfig != "" {
		abs, err := filepath.Abs(o.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", abs)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", o.Kubeconfig, err)
		}
		return &cluster{config: config, kubeconfig: abs}, nil
	}
	log, err := os.OpenFile(o.path("kubeapi.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the Kubernetes API: %w", err)
	}
	api, err := localapi.Start(ctx, localapi.Options{DataDir: o.path("kube"), Kubeconfig: o.path("kubeconfig"), Stderr: log})
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start the Kubernetes API: %w", err)
	}
	go func() {
		<-api.Done()
		_ = log.Close()
	}()
	return &cluster{config: api.Config, kubeconfig: api.Kubeconfig, child: api}, nil
}

func (c *cluster) prepare(ctx context.Context) error {
	if err := install.Install(ctx, c.config); err != nil {
		return fmt.Errorf("install the CRDs: %w", err)
	}
	err := install.Policies(ctx, c.config)
	if errors.Is(err, install.ErrPoliciesNotServed) {
		c.unnamed = err
		return nil
	}
	return err
}

// awaitPolicies waits until the policies are in force: before, changes of
// Deployments are refused. It goes on beside the other parts' start.
func (c *cluster) awaitPolicies(ctx context.Context) error {
	if c.unnamed != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, policiesTimeout)
	defer cancel()
	return install.AwaitPolicies(ctx, c.config)
}

// done closes when the child has ended; never for somebody's cluster.
func (c *cluster) done() <-chan struct{} {
	if c.child == nil {
		return nil
	}
	return c.child.Done()
}

func (c *cluster) stop() error {
	if c.child == nil {
		return nil
	}
	return c.child.Stop()
}
