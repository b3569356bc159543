package predicate_test

import (
	"fmt"
	"testing"

	"fleet.nationtech.io/deploy/predicate"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// BenchmarkAsk asks of 10,000 devices with 3 Deployments each, beside the bare copy of the
// view, which a look of bisect costs anyway.
func BenchmarkAsk(b *testing.B) {
	w := storytest.New(b)
	for i := range 10_000 {
		w.Device(fmt.Sprint("pi-", i), map[string]string{"site": "lab"})
		w.Online(fmt.Sprint("pi-", i))
	}
	for n := range 3 {
		k := fleet.Key{Namespace: "shop", Name: fmt.Sprint("app-", n)}
		applied := w.Apply(k, 1, storytest.Podman("nginx:1"))
		w.Rollout(k, eventlog.RolloutStarted, 1, 10_000)
		for i := range 10_000 {
			w.Assign(fmt.Sprint("pi-", i), k, 1, applied)
			w.Report(fmt.Sprint("pi-", i), k, eventlog.PhaseRunning, "", 1)
		}
	}
	v := w.Fleet(timeline.Options{})
	for _, text := range []string{
		`deployments["shop/app-1"].status.aggregate.failed > 3`,
		`devices["pi-77"].status.deployments.failed > 0`,
		`devices.exists(d, devices[d].status.deployments.failed > 0)`,
	} {
		p, err := predicate.Compile(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				if a, err := p.Ask(b.Context(), v); err != nil || a.Holds {
					b.Fatal(a, err)
				}
			}
		})
	}
	b.Run("bare copy of the view", func(b *testing.B) {
		for b.Loop() {
			bytes, err := fleet.Encode(v)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fleet.Decode(bytes); err != nil {
				b.Fatal(err)
			}
		}
	})
}
