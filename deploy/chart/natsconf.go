package chart

import (
	"time"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
)

// Where the pods have what the servers read.
const (
	natsTLSDir       = "/etc/nats-tls/"
	natsRoutesTLSDir = "/etc/nats-routes-tls/"
	natsStoreDir     = "/data"
)

// Variables of the servers' environment. The StatefulSet sets them by the chart's values, so
// that one file of configuration serves any size.
const (
	varPodName        = "$POD_NAME"
	varRoutes         = "$FLEET_NATS_ROUTES"
	varMaxFile        = "$FLEET_NATS_MAX_FILE"
	varMaxMemory      = "$FLEET_NATS_MAX_MEMORY"
	varMaxConnections = "$FLEET_NATS_MAX_CONNECTIONS"
	varLameDuck       = "$FLEET_NATS_LAME_DUCK"
)

// NATSServer is the configuration of each NATS server of the chart. clustered joins several;
// plainWebSocket leaves the TLS of WebSockets to a proxy.
func NATSServer(clustered, plainWebSocket bool) accounts.Server {
	s := accounts.Server{
		Name: varPodName, Port: names.PortNATS, HTTPPort: names.PortMonitor,
		StoreDir: natsStoreDir, MaxFile: varMaxFile, MaxMemory: varMaxMemory, SyncAlways: true,
		TLS:           &accounts.TLS{CertFile: natsTLSDir + names.KeyCert, KeyFile: natsTLSDir + names.KeyKey},
		WebSocketPort: names.PortWebSocket, WebSocketPlain: plainWebSocket,
		Limits: accounts.Limits{
			MaxConnections: varMaxConnections, MaxPayload: "1MB",
			WriteDeadline: 10 * time.Second, PingInterval: 20 * time.Second, MaxPings: 2,
		},
		LameDuck: varLameDuck, Include: names.KeyAccounts,
	}
	if clustered {
		s.Cluster = &accounts.Cluster{
			Name: "fleet", Port: names.PortRoutes, Routes: []string{varRoutes}, NoAdvertise: true,
			TLS: &accounts.TLS{
				CertFile: natsRoutesTLSDir + names.KeyCert, KeyFile: natsRoutesTLSDir + names.KeyKey, CAFile: natsRoutesTLSDir + names.KeyCA,
			},
		}
	}
	return s
}
