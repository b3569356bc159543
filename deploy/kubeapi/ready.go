package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	readyInterval = 25 * time.Millisecond
	// readyLimit is far above the 3 s that a start takes, for machines that
	// compile or start many of these at the same time.
	readyLimit = 3 * time.Minute
	crdPath    = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
)

// waitUntilReady returns once a client with the admin's kubeconfig could work:
// the server says so itself, CRDs are served, and the namespaces that others
// count on exist. The uid of kube-system identifies the cluster.
func waitUntilReady(ctx context.Context, server string, creds credentials) error {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:            server,
		BearerToken:     creds.token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: creds.caFile()},
		QPS:             -1,
	})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return get(ctx, client, "/readyz") },
		func(ctx context.Context) error { return get(ctx, client, crdPath) },
		func(ctx context.Context) error { return ensureNamespace(ctx, client, metav1.NamespaceSystem) },
		func(ctx context.Context) error { return ensureNamespace(ctx, client, metav1.NamespaceDefault) },
	}
	for _, step := range steps {
		if err := poll(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// poll repeats step until it succeeds, and returns its last error if ctx or
// readyLimit ends first.
func poll(ctx context.Context, step func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, readyInterval, readyLimit, true, func(ctx context.Context) (bool, error) {
		last = step(ctx)
		return last == nil, nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("not ready after %s: %w", readyLimit, errors.Join(err, last))
	}
	return nil
}

func get(ctx context.Context, client kubernetes.Interface, path string) error {
	return client.Discovery().RESTClient().Get().AbsPath(path).Param("limit", "1").Do(ctx).Error()
}

func ensureNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
