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
	"fleet.nationtech.io/operator/internal/dashboard/signin"
	"fleet.nationtech.io/operator/internal/lag"
)

// serveDashboard adds what serves the dashboard, where that is asked for. Each replica does,
// whether it leads or not. It gives who reads the log for it.
func (a *App) serveDashboard(ctx context.Context, g *run.Group, js jetstream.JetStream, events http.Handler) ([]lag.Reader, error) {
	o := a.options
	defer close(a.dashboardReady)
	l := o.DashboardListener
	if l == nil && o.DashboardAddr != "" {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", o.DashboardAddr); err != nil {
			return nil, fmt.Errorf("serve the dashboard: %w", err)
		}
	}
	if l == nil {
		return nil, nil
	}
	signIn, err := a.signIn(js)
	if err != nil {
		return nil, err
	}
	fold := moments.New(moments.Options{JS: js, Logger: o.Logger, Now: o.Now})
	d, err := dashboard.New(dashboard.Options{
		JS: js, Moments: fold, Events: events, AnyHost: o.DashboardOpen, SignIn: signIn, Registry: o.Registry, Logger: o.Logger, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	a.dashboardAddr = l.Addr()
	o.Logger.Info("serving the dashboard", "address", l.Addr().String(), "open", o.DashboardOpen, "sign_in", signIn != nil)
	actor(ctx, g, fold.Run)
	if signIn != nil {
		actor(ctx, g, signIn.Run)
	}
	actor(ctx, g, func(ctx context.Context) error { return serveHTTP(ctx, l, d.Handler(), o.Logger, "the dashboard") })
	return []lag.Reader{{
		Metric: "fleet_dashboard_fold_lag_seconds", Reading: fold.Reading,
		Help: "Age of the oldest event of the log that the dashboard of this replica has not folded; 0 where it has folded all.",
	}}, nil
}

// signIn wires how persons sign in; nil where nobody is asked.
func (a *App) signIn(js jetstream.JetStream) (*signin.SignIn, error) {
	o := a.options
	if !o.DashboardSignIn.Asked() {
		return nil, nil
	}
	return signin.New(signin.Options{
		Settings: o.DashboardSignIn, JS: js, Replicas: o.Replicas, NATSURL: o.URL, NATS: o.NATSTrust,
		Registry: o.Registry, Logger: o.Logger, Now: o.Now,
	})
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
