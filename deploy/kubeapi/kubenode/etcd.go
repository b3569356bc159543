package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// newEtcdCommand is a store of one member on a Unix socket.
func newEtcdCommand() *cobra.Command {
	var directory, socket string
	command := &cobra.Command{
		Use:          "etcd",
		Short:        "Serve Kubernetes' store on a Unix socket",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return serveEtcd(command.Context(), directory, socket)
		},
	}
	command.Flags().StringVar(&directory, "data-dir", "", "directory of the data")
	command.Flags().StringVar(&socket, "socket", "", "path of the socket")
	return command
}

// serveEtcd serves until it fails. A signal ends it as a crash does, which loses
// nothing.
func serveEtcd(ctx context.Context, directory, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	client := url.URL{Scheme: "unix", Path: socket}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"} // there is no other member
	config := embed.NewConfig()
	config.Dir = directory
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	config.LogLevel = "warn"
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd in %s: %w", directory, err)
	}
	defer etcd.Close()
	select {
	case err := <-etcd.Err():
		return fmt.Errorf("etcd failed: %w", err)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	case <-ctx.Done():
		return nil
	}
}
