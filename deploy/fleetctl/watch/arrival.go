package watch

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/resource"
)

// maxAhead is how far the log may be read ahead of what is written.
const maxAhead = 256

// Arrival is an event of the log that is followed, or what it yields beside one.
type Arrival struct {
	Event eventlog.Event
	Err   error
}

// Arrivals follows the log from the catalog's view on. The channel closes when the log
// yields no more. stop ends the reading, and returns once it has ended.
func Arrivals(ctx context.Context, js jetstream.JetStream, cat *resource.Catalog) (come <-chan Arrival, stop func()) {
	cat.View.Track()
	from := reader.Options{After: cat.View.Position()}
	arrivals := make(chan Arrival, maxAhead)
	reading, end := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		defer close(arrivals)
		for e, err := range reader.Follow(reading, js, from) {
			select {
			case arrivals <- Arrival{e, err}:
			case <-reading.Done():
				return nil
			}
		}
		return nil
	})
	return arrivals, func() {
		end()
		_ = g.Wait() // what ends the reading came as an arrival
	}
}
