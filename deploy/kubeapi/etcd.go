package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	// slowRequest is when etcd complains: its own limits (100 ms) are for
	// production disks, and would fill stderr on a laptop that compiles.
	slowRequest = 3 * time.Second
	// storeQuota is the size at which etcd turns read-only. Its default of 2 GiB
	// can be reached by 100,000 objects that change within compaction's 5 minutes.
	storeQuota = 8 << 30
	// defragAtStart gives the disk back when at least so many MiB are free inside.
	defragAtStart = 256
)

// startEtcd starts the store in dataDir, serves it on socket and returns once it
// takes requests. Close it last.
func startEtcd(ctx context.Context, dataDir string, socket *etcdSocket, opts Options, quiet *quietLog) (*embed.Etcd, error) {
	client := url.URL{Scheme: "unix", Path: socket.path}
	peer := url.URL{Scheme: "unix", Path: socket.peerPath()}

	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dataDir, "etcd")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.EnableGRPCGateway = false
	cfg.QuotaBackendBytes = storeQuota
	cfg.BootstrapDefragThresholdMegabytes = defragAtStart
	cfg.UnsafeNoFsync = opts.NoFsync
	cfg.WarningApplyDuration, cfg.WarningUnaryRequestDuration = slowRequest, slowRequest
	cfg.ZapLoggerBuilder = etcdLogger(opts.Verbosity, quiet)

	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped by itself")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	etcd.Close()
	return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
}
