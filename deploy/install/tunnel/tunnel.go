// Package tunnel connects to a port of a pod through the Kubernetes API, as kubectl
// port-forward does, where nothing else exposes it.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Tunnel is an open way to a port of a pod.
type Tunnel struct {
	// Port is on this machine's loopback.
	Port uint16

	stop chan struct{}
	done chan error
}

// openTimeout is how long the API server may take to open the way.
const openTimeout = 30 * time.Second

// Open opens a way to a port of a pod. Close ends it.
//
// Errors: the API server's, such as for a pod that is not there or a right that is
// missing (create pods/portforward).
func Open(ctx context.Context, config *rest.Config, namespace, pod string, port int) (*Tunnel, error) {
	fail := func(err error) error {
		return fmt.Errorf("connect to port %d of pod %s/%s through the Kubernetes API: %w", port, namespace, pod, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fail(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fail(err)
	}
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	t := &Tunnel{stop: make(chan struct{}), done: make(chan error, 1)}
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, t.stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, fail(err)
	}
	go func() { t.done <- forwarder.ForwardPorts() }()
	timeout := time.NewTimer(openTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
	case err := <-t.done:
		if err == nil {
			err = errors.New("it ended at once")
		}
		return nil, fail(err)
	case <-ctx.Done():
		t.Close()
		return nil, fail(ctx.Err())
	case <-timeout.C:
		t.Close()
		return nil, fail(fmt.Errorf("not open after %s", openTimeout))
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Close()
		return nil, fail(err)
	}
	t.Port = ports[0].Local
	return t, nil
}

// Close ends the way, and the connections that are on it. It does not wait: the API
// server may not answer.
func (t *Tunnel) Close() { close(t.stop) }
