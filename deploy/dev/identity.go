package dev

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/dev/provider"
	"fleet.nationtech.io/operator"
)

const (
	calloutReplicas = 2
	calloutReady    = time.Minute // how long replicas may take until they take requests
)

// upProvider starts the identity provider where devices come in by tokens, and makes
// the servers' certificates. Its directory and its address are kept, so that the
// devices' keys stay good.
func (r *runner) upProvider(ctx context.Context, remembered *ports) error {
	if r.Auth != AuthOIDC {
		return nil
	}
	var err error
	if r.ca, err = authority.Load(r.path("tls")); err != nil {
		return err
	}
	natsCert, natsKey, err := r.ca.Server("nats")
	if err != nil {
		return err
	}
	r.certificate = &accounts.TLS{CertFile: natsCert, KeyFile: natsKey}
	certFile, keyFile, err := r.ca.Server("provider")
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("identity provider: %w", err)
	}
	l, err := listen(ctx, 0, remembered.Provider)
	if err != nil {
		return fmt.Errorf("identity provider: %w", err)
	}
	remembered.Provider = portOf(l)
	if err := remembered.save(r.path("ports.json")); err != nil {
		return errors.Join(err, l.Close())
	}
	p, err := provider.Load(provider.Options{
		File: r.path("provider.json"), Listener: l, Certificate: certificate, TokenLifetime: r.TokenLifetime,
		Logger: r.Logger.With("component", "provider"),
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	r.fleet.provider = p
	r.onDown(p.Save) // with what people did there; it follows the provider's end
	r.background(ctx, "identity provider", p.Run)
	select {
	case <-p.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan struct{})
	r.enrolled = r.inBackground(func() error { defer close(done); return r.enrol(ctx) })
	r.onDown(func() error { <-done; return nil })
	r.say("OpenID provider %s  for development only: anyone who reaches it can log in as anyone", p.Issuer())
	return nil
}

// enrol gives each device its key. Making keys takes a while.
func (r *runner) enrol(ctx context.Context) error {
	for _, d := range r.fleet.Devices {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.fleet.provider.Enrol(d.ID, r.keyFile(d)); err != nil {
			return err
		}
	}
	return r.fleet.provider.Save()
}

// signIn is how people sign in to the dashboard at an address, where there is a provider.
func (r *runner) signIn(address string) (operator.SignIn, error) {
	if r.Auth != AuthOIDC {
		return operator.SignIn{}, nil
	}
	if err := r.fleet.provider.Dashboard(address); err != nil {
		return operator.SignIn{}, err
	}
	return operator.SignIn{
		URL: address, Issuer: r.fleet.provider.Issuer(), ClientID: provider.DashboardClientID, Project: provider.Project, IssuerCAFile: r.ca.File(),
	}, nil
}

// upCallouts starts the replicas of the auth callout. They take requests once the
// operator has made the event log.
func (r *runner) upCallouts(ctx context.Context, users accounts.Users) error {
	if r.Auth != AuthOIDC {
		return nil
	}
	issuer, err := os.ReadFile(r.path(accounts.IssuerSeedFile))
	if err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}
	xkey, err := os.ReadFile(r.path(accounts.XKeySeedFile))
	if err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}
	login := func(l accounts.Login) service.Login { return service.Login{User: l.User, Password: l.Password} }
	for n := range calloutReplicas {
		replica, err := service.New(service.Options{
			URL: r.fleet.Env.NATSURL, NATSOptions: r.fleet.Env.NATSOptions(),
			Auth: login(users.Callout.Answers), Log: login(users.Callout.Log), System: login(users.Callout.System),
			Keys:   responder.Keys{Issuers: [][]byte{issuer}, XKeys: [][]byte{xkey}},
			Issuer: r.fleet.provider.Issuer(), IssuerCA: r.ca.PEM(), Project: provider.Project,
			DeviceOrganization: provider.DeviceOrganization, DeviceRole: provider.DeviceRole,
			Organizations: []string{provider.PeopleOrganization}, Roles: append(service.DefaultRoles(), r.roles...),
			Logger: r.Logger.With("component", "callout", "replica", n+1), Registry: r.registry(jobCallout, fmt.Sprintf("callout-%d", n+1)),
		})
		if err != nil {
			return err
		}
		r.callouts = append(r.callouts, replica)
		r.background(ctx, fmt.Sprintf("auth callout %d", n+1), replica.Run)
	}
	return nil
}

func (r *runner) awaitCallouts(ctx context.Context) error {
	if len(r.callouts) == 0 {
		return nil
	}
	err := until(ctx, calloutReady, func(context.Context) (bool, string, error) {
		for n, replica := range r.callouts {
			if !replica.Ready() {
				return false, fmt.Sprintf("replica %d takes no requests", n+1), nil
			}
		}
		return true, "", nil
	})
	if err != nil {
		return fmt.Errorf("auth callout: %w; see %s", err, r.path("fleet.log"))
	}
	r.say("auth callout    %d replicas take requests", len(r.callouts))
	return nil
}
