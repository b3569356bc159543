package deployments_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned/fake"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/projections/fleet"
)

// A decision holds the state's lock, so that a CR can be in the informer's cache
// and not in the state yet. To decide that it is missing would be wrong.
func TestACRThatTheCacheHasBeforeTheStateIsNotTakenForMissing(t *testing.T) {
	t.Parallel()
	key := fleet.Key{Namespace: "shop", Name: "web"}
	client := fake.NewClientset(&v1alpha1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, Finalizers: []string{v1alpha1.FinalizerWithdraw},
	}})
	factory := externalversions.NewSharedInformerFactory(client, 0)
	state, decided := decide.NewState(fleet.New()), make(chan fleet.Key, 1)
	var lock sync.Mutex
	c, err := deployments.New(factory, deployments.Options{
		Client: client,
		Do: func(fn func(*decide.State)) {
			lock.Lock()
			defer lock.Unlock()
			fn(state)
		},
		Decide: func(k fleet.Key) { decided <- k }, Patched: func() {}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	lock.Lock()
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	if _, known := state.Deployment(key); known || len(c.Keys()) != 1 {
		t.Errorf("the state has it: %v; the cache has %v", known, c.Keys())
	}
	if !c.AwaitingFinalizer(key) {
		t.Error("not withheld, so that it is taken for missing")
	}
	lock.Unlock()
	<-decided
	if _, known := state.Deployment(key); !known {
		t.Error("asked to decide about what the state does not have")
	}
}
