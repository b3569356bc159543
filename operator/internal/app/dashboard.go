package app

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/run"

	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
)

// serveDashboard adds what serves the dashboard, where that is asked for. Each replica does,
// whether it leads or not.
func (a *App) serveDashboard(ctx context.Context, g *run.Group, js jetstream.JetStream, events http.Handler) error {
	o := a.options
	defer close(a.dashboardReady)
	l := o.DashboardListener
	if l == nil && o.DashboardAddr != "" {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", o.DashboardAddr); err != nil {
			return fmt.Errorf("serve the dashboard: %w", err)
		}
	}
	if l == nil {
		return nil
	}
	fold := moments.New(moments.Options{JS: js, Logger: o.Logger, Now: o.Now})
	d, err := dashboard.New(dashboard.Options{
		JS: js, Moments: fold, Events: events, AnyHost: o.DashboardOpen, Registry: o.Registry, Logger: o.Logger, Now: o.Now,
	})
	if err != nil {
		return err
	}
	a.dashboardAddr = l.Addr()
	o.Logger.Info("serving the dashboard", "address", l.Addr().String(), "open", o.DashboardOpen)
	actor(ctx, g, fold.Run)
	actor(ctx, g, func(ctx context.Context) error { return serveHTTP(ctx, l, d.Handler(), o.Logger, "the dashboard") })
	return nil
}

// DashboardAddr waits until the dashboard is served and says where; nil where it is not.
func (a *App) DashboardAddr(ctx context.Context) net.Addr {
	select {
	case <-a.dashboardReady:
		return a.dashboardAddr
	case <-ctx.Done():
		return nil
	}
}
