// Package accountstest lays out servers for tests that run them by their files.
package accountstest

import (
	"fmt"
	"testing"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog/natstest"
)

// Nodes are n servers of one cluster on the loopback, node-1 and on, on free ports and
// each with a store of its own.
func Nodes(t testing.TB, n int) []accounts.Server {
	t.Helper()
	const host = "127.0.0.1"
	all := make([]accounts.Server, n)
	var routes []string
	for i := range all {
		port := natstest.FreePort(t)
		routes = append(routes, fmt.Sprintf("nats://%s:%d", host, port))
		all[i] = accounts.Server{
			Name: fmt.Sprintf("node-%d", i+1), Host: host, Port: natstest.FreePort(t), StoreDir: t.TempDir(),
			Cluster: &accounts.Cluster{Name: "test", Host: host, Port: port},
		}
	}
	for i := range all {
		all[i].Cluster.Routes = routes
	}
	return all
}
