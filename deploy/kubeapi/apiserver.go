package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	sample "k8s.io/kubernetes/pkg/controlplane/apiserver/samples/generic/server"
)

const (
	// serviceAccountIssuer does not name the port, so that tokens outlive it.
	serviceAccountIssuer = "https://kubernetes.default.svc.cluster.local"
	// watchGrace is how long open watches are given to end at shutdown, and
	// connectionGrace the connections after them. The defaults are a minute.
	watchGrace      = 500 * time.Millisecond
	connectionGrace = 2 * time.Second
	// drainLimit bounds the API server's part of a shutdown, so that etcd has
	// the rest of shutdownLimit to close in.
	drainLimit = 20 * time.Second
)

// apiServer is the generic control plane: CRDs, namespaces, RBAC, leases, events,
// secrets, configmaps, tokens, admission policies; no pods, services or nodes.
type apiServer struct {
	chain *aggregatorapiserver.APIAggregator
	// cancel begins the shutdown.
	cancel context.CancelFunc
	// finished is closed once the server has ended, with result set before.
	finished chan struct{}
	result   error
}

// newAPIServer wires the server on listener, with etcd at etcdURL.
func newAPIServer(ctx context.Context, listener net.Listener, etcdURL string, creds credentials) (*apiServer, error) {
	completed, err := apiServerOptions(listener, etcdURL, creds).Complete(ctx, []string{"localhost"}, nil)
	if err != nil {
		return nil, fmt.Errorf("complete options: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return nil, fmt.Errorf("validate options: %w", utilerrors.NewAggregate(errs))
	}
	config, err := sample.NewConfig(completed)
	if err != nil {
		return nil, fmt.Errorf("make configuration: %w", err)
	}
	// The sample says three servers, and each CRD then waits 5 s for two that
	// do not exist before it is Established.
	config.APIExtensions.ExtraConfig.MasterCount = 1
	completedConfig, err := config.Complete()
	if err != nil {
		return nil, fmt.Errorf("complete configuration: %w", err)
	}
	chain, err := sample.CreateServerChain(completedConfig)
	if err != nil {
		return nil, fmt.Errorf("create servers: %w", err)
	}
	chain.GenericAPIServer.ShutdownTimeout = connectionGrace
	return &apiServer{chain: chain, finished: make(chan struct{})}, nil
}

func apiServerOptions(listener net.Listener, etcdURL string, creds credentials) *options.Options {
	localhost := net.IPv4(127, 0, 0, 1)
	o := sample.NewOptions()
	o.Etcd.StorageConfig.Transport.ServerList = []string{etcdURL}
	o.SecureServing.Listener = listener
	o.SecureServing.BindAddress = localhost
	o.SecureServing.BindPort = listener.Addr().(*net.TCPAddr).Port
	o.SecureServing.ServerCert.CertDirectory = creds.certDir
	o.GenericServerRunOptions.AdvertiseAddress = localhost
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchGrace
	o.Authentication.TokenFile.TokenFile = creds.tokenFile
	o.Authentication.ServiceAccounts.Issuers = []string{serviceAccountIssuer}
	o.Authentication.ServiceAccounts.KeyFiles = []string{creds.serviceAccountKey}
	o.ServiceAccountSigningKeyFile = creds.serviceAccountKey
	o.Authorization.Modes = []string{"RBAC"}
	return o
}

// loopbackConfig is for clients inside this process; it has all rights.
func (s *apiServer) loopbackConfig() *rest.Config {
	return rest.CopyConfig(s.chain.GenericAPIServer.LoopbackClientConfig)
}

// start begins to serve. It does not follow ctx's end, since the shutdown has an
// order of its own: stop does that.
func (s *apiServer) start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	prepared, err := s.chain.PrepareRun()
	if err != nil {
		s.cancel()
		return fmt.Errorf("prepare: %w", err)
	}
	go func() {
		defer close(s.finished)
		s.result = prepared.Run(ctx)
	}()
	return nil
}

// errStopped is the result of an API server that ended without being asked.
var errStopped = errors.New("the API server stopped by itself")

// stop drains the server, for at most drainLimit.
func (s *apiServer) stop() error {
	s.cancel()
	select {
	case <-s.finished:
		return s.result
	case <-time.After(drainLimit):
		return fmt.Errorf("requests still open after %s were cut off", drainLimit)
	}
}
