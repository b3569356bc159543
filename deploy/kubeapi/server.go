package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/klog/v2"
)

// run serves the Kubernetes API until ctx ends or a part fails:
//
//	lock ─▶ etcd ─▶ listener ─▶ credentials ─▶ API server ─▶ controllers
//	                                                │
//	                        ready ─▶ kubeconfig ─▶ "ready https://127.0.0.1:PORT"
//
// Each step's undoing is deferred, so the shutdown is the same way backwards:
// the kubeconfig goes first, etcd and then the lock go last.
func run(ctx context.Context, opts Options, stdout io.Writer, quiet *quietLog) (err error) {
	if err := os.MkdirAll(opts.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockDataDir(ctx, opts.DataDir, lockPatience)
	if err != nil {
		return err
	}
	defer joinError(&err, "release lock", lock.release)

	if err := removeStaleKubeconfig(opts.Kubeconfig); err != nil {
		return err
	}
	socket, err := newEtcdSocket(opts.DataDir, os.TempDir(), "/tmp")
	if err != nil {
		return err
	}
	defer joinError(&err, "remove etcd socket", socket.remove)

	etcd, err := startEtcd(ctx, opts.DataDir, socket, opts, quiet)
	if err != nil {
		return err
	}
	defer etcd.Close()

	listener, port, err := listen(opts.DataDir, opts.Port)
	if err != nil {
		return err
	}
	defer listener.Close() // The API server closes it too; this is for the steps before.

	creds, err := ensureCredentials(opts.DataDir, time.Now())
	if err != nil {
		return err
	}

	api, err := newAPIServer(ctx, listener, socket.url(), creds)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	if err := api.start(ctx); err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	defer joinError(&err, "stop API server", api.stop)

	controllers, err := newControllers(ctx, api.loopbackConfig())
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	controllers.start(ctx)
	defer controllers.stop()

	server := "https://" + loopback(port)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-api.finished:
			cancel(errStopped)
		case err := <-etcd.Err():
			cancel(fmt.Errorf("etcd failed: %w", err))
		case <-ctx.Done():
		}
	}()

	if err := waitUntilReady(ctx, server, creds); err != nil {
		return fmt.Errorf("wait until ready: %w", err)
	}
	defer joinError(&err, "remove kubeconfig", func() error { return removeIfPresent(opts.Kubeconfig) })
	if err := writeKubeconfig(opts.Kubeconfig, server, creds); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "ready %s\n", server); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	quiet.setLoud(true)
	<-ctx.Done()
	quiet.setLoud(false)
	cause := context.Cause(ctx)
	klog.InfoS("Shutting down", "cause", cause)
	if askedToEnd(cause) {
		return nil
	}
	return cause
}

// joinError is for defer: it adds the error of an undoing to the one returned.
func joinError(err *error, doing string, undo func() error) {
	if failed := undo(); failed != nil {
		*err = errors.Join(*err, fmt.Errorf("%s: %w", doing, failed))
	}
}
