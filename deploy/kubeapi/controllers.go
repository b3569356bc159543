package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

const (
	namespaceWorkers = 2
	namespaceResync  = 5 * time.Minute
	// collectorWorkers is 20 in a real cluster, which has more than two cores.
	collectorWorkers = 4
	// collectorPeriod is how soon the dependents of a new CRD's objects are
	// collected; 30 s in a real cluster, where discovery costs more.
	collectorPeriod = 5 * time.Second
)

// controllers are the three of kube-controller-manager that the API itself needs
// to behave as people know it: a deleted namespace goes, a new one gets its
// default service account, and what an owner leaves behind is collected.
type controllers struct {
	runs   []func(context.Context)
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// newControllers wires them on config, a client of all rights.
func newControllers(ctx context.Context, config *rest.Config) (*controllers, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make metadata client: %w", err)
	}
	// A client of its own for the mapper's cache, which the collector resets.
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make discovery client: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discoveryClient))
	shared := informers.NewSharedInformerFactory(client, 0)
	metadataShared := metadatainformer.NewSharedInformerFactory(metadataClient, 0)
	started := make(chan struct{})

	namespaces := namespace.NewNamespaceController(ctx, client, metadataClient,
		client.Discovery().ServerPreferredNamespacedResources,
		shared.Core().V1().Namespaces(), namespaceResync, corev1.FinalizerKubernetes)

	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx),
		shared.Core().V1().ServiceAccounts(), shared.Core().V1().Namespaces(), client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, fmt.Errorf("make service account controller: %w", err)
	}

	collector, err := garbagecollector.NewGarbageCollector(ctx, client, metadataClient, mapper,
		garbagecollector.DefaultIgnoredResources(), informerfactory.NewInformerFactory(shared, metadataShared), started)
	if err != nil {
		return nil, fmt.Errorf("make garbage collector: %w", err)
	}

	return &controllers{runs: []func(context.Context){
		func(ctx context.Context) {
			shared.StartWithContext(ctx)
			metadataShared.Start(ctx.Done())
			close(started)
		},
		func(ctx context.Context) { namespaces.Run(ctx, namespaceWorkers) },
		func(ctx context.Context) { accounts.Run(ctx, 1) },
		func(ctx context.Context) { collector.Run(ctx, collectorWorkers, collectorPeriod) },
		func(ctx context.Context) { collector.Sync(ctx, client.Discovery(), collectorPeriod) },
	}}, nil
}

// start runs them until stop; as the API server, they do not follow ctx's end.
func (c *controllers) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range c.runs {
		c.group.Go(func() { run(ctx) })
	}
}

func (c *controllers) stop() {
	c.cancel()
	c.group.Wait()
}
