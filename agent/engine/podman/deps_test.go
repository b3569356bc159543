package podman

import (
	_ "fleet.nationtech.io/eventlog/natstest"
	_ "github.com/coreos/go-systemd/v22/daemon"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/gowebpki/jcs"
	_ "github.com/nats-io/nats.go"
	_ "github.com/oklog/run"
	_ "github.com/oklog/ulid/v2"
	_ "github.com/pelletier/go-toml/v2"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "go.etcd.io/bbolt"
	_ "golang.org/x/sys/unix"
	_ "pgregory.net/rapid"
)
