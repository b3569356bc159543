package fleetctl_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// originalFleet is a server with four buckets that clients write, and no log. One of its
// desired values is not JSON.
func originalFleet(t *testing.T) (url string, err error) {
	s := natstest.Start(t)
	_, js := s.Connect(t)
	kv := map[string]jetstream.KeyValue{}
	for _, b := range eventlog.Buckets() {
		if kv[b], err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: b}); err != nil {
			return "", err
		}
	}
	for _, e := range [][3]string{
		{eventlog.BucketInfo, "info.old-a", `{"device_id":"old-a","labels":{"site":"roof"},"inventory":{"hostname":"old-a"},"updated_at":"2026-11-01T10:00:00Z"}`},
		{eventlog.BucketInfo, "info.old-b", `{"device_id":"old-b","labels":{"site":"roof"},"inventory":{"hostname":"old-b"},"updated_at":"2026-11-01T10:00:00Z"}`},
		{eventlog.BucketDesired, "old-a.web", `{"type": "PodmanV0", "data": {"services": [{"name": "web", "image": "nginx:1.27", "ports": ["8080:80"]}]}}`},
		{eventlog.BucketDesired, "old-b.web", `{"type": "PodmanV0", "data": {"services": [{"name": "web", "image": "nginx:1.27", "ports": ["8080:80"]}]}}`},
		{eventlog.BucketDesired, "old-b.broken", `{"type": `},
		{eventlog.BucketState, "state.old-a.web", `{"device_id":"old-a","deployment":"web","phase":"Running","last_event_at":"2026-11-01T10:00:00Z","last_error":null}`},
		{eventlog.BucketHeartbeat, "heartbeat.old-a", `{"device_id":"old-a","at":"2026-11-01T10:00:00Z"}`},
	} {
		if _, err := kv[e[0]].PutString(t.Context(), e[1], e[2]); err != nil {
			return "", err
		}
	}
	return s.URL(), nil
}
