package examine

import (
	"context"
	"time"

	"fleet.nationtech.io/deploy/doctor"
)

// Pods asks the servers of some pods, each by a way to its monitoring port.
func Pods(ctx context.Context, servers int, way func(ctx context.Context, pod string) (string, func(), error)) (all []doctor.Member, unread []string) {
	c := cluster{Kubernetes: doctor.Kubernetes{Servers: servers}, now: time.Now, way: way}
	c.members(ctx)
	return c.Members, c.Unread
}

// Growth is how much a log grew.
var Growth = growth
