// Command record records the series of a real rollout for the tests of the dashboards:
// it runs a fleet of 200 agents through a story, scrapes it as Prometheus does, and
// writes what it saw in the notation of Prometheus' own tests. `make record` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fleet.nationtech.io/deploy/dev"
)

// interval is that between two scrapes.
const interval = 2 * time.Second

func main() { os.Exit(run()) }

func run() int {
	out := flag.String("out", "deploy/grafana/promtest/testdata/rollout.series", "where the series are written")
	devices := flag.Int("devices", 200, "how many agents run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := record(ctx, *out, *devices); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		return 1
	}
	return 0
}

func record(ctx context.Context, out string, devices int) error {
	dir, err := os.MkdirTemp("", "fleet-record-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := dev.Options{
		DataDir: dir, Devices: devices, Prefix: "edge", Engine: dev.EngineMemory, Auth: dev.AuthOIDC, TokenLifetime: time.Minute,
		PulseInterval: 2 * time.Second, Observability: true, Out: os.Stdout, Logger: slog.New(slog.DiscardHandler),
	}
	return dev.Run(ctx, o, func(ctx context.Context, f *dev.Fleet) error {
		r := newRecording(f.Targets, time.Now())
		s, err := newStory(f, r.failing)
		if err != nil {
			return err
		}
		scraping, end := context.WithCancel(ctx)
		scraped := make(chan error, 1)
		go func() { scraped <- r.run(scraping) }()
		told := s.tell(ctx)
		end()
		if err := <-scraped; err != nil {
			return err
		}
		if told != nil {
			return told
		}
		file, err := os.Create(out)
		if err != nil {
			return err
		}
		if err := r.write(file); err != nil {
			_ = file.Close()
			return err
		}
		return file.Close()
	})
}
