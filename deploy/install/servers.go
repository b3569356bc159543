package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	appsv1 "k8s.io/api/apps/v1"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/rolling"
)

// servers is what is needed to have the NATS servers read their files again.
type servers struct {
	set         appsv1.StatefulSet
	conf        string            // nats.conf
	accounts    string            // which it includes
	certificate *x509.Certificate // which they show to clients
	routes      *x509.Certificate // which they show each other; nil: there is one server
}

// projected is how long it is waited, each time, for the kubelet to bring a changed Secret
// to a pod: each reload ends the connections of the devices of that server.
func projected() []time.Duration {
	return []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Minute}
}

// look is at the certificate that a server shows to clients.
type look func(ctx context.Context, pod string) (*x509.Certificate, error)

// reloading is what servers.reload needs of its surroundings.
type reloading struct {
	touch   func(ctx context.Context, pod, mark string) error
	shown   look
	tell    func(format string, args ...any)
	timeout time.Duration
	pause   func() []time.Duration
}

// want is what a server runs with once it has read its files.
func (s servers) want(server string) (rolling.Configuration, error) {
	environment := map[string]string{}
	for _, e := range s.set.Spec.Template.Spec.Containers[0].Env {
		environment[e.Name] = e.Value
		if e.ValueFrom != nil {
			environment[e.Name] = server // of a server only its name is its own
		}
	}
	digest, err := rolling.Digest(s.conf, map[string]string{names.KeyAccounts: s.accounts}, environment)
	want := rolling.Configuration{Digest: digest, CertificateEnds: s.certificate.NotAfter.UTC()}
	if s.routes != nil {
		want.RoutesEnd = s.routes.NotAfter.UTC()
	}
	return want, err
}

// many is how many servers there are to be.
func (s servers) many() int {
	if s.set.Spec.Replicas == nil {
		return 1
	}
	return int(*s.set.Spec.Replicas)
}

func (s servers) reload(ctx context.Context, nc *nats.Conn, with reloading) error {
	many := s.many()
	all, err := rolling.Servers(ctx, nc, many, with.timeout)
	if err != nil {
		return err
	}
	behind := 0
	for _, server := range all {
		stands, err := s.stands(ctx, nc, server, with)
		if err != nil {
			return err
		}
		if !stands {
			behind++
		}
	}
	if behind == 0 {
		return nil
	}
	with.tell("%d of %d NATS servers read accounts and certificates again, one after the other.", behind, len(all))
	return rolling.Change(ctx, rolling.Options{
		Conn: nc, Servers: many, Timeout: with.timeout,
		Apply: func(ctx context.Context, server rolling.Server) error { return s.reloadOne(ctx, nc, server, with) },
		Changed: func(server rolling.Server, c rolling.Count) {
			with.tell("Server %s runs with what is wished; %d of %d devices are connected.", server.Name, c.After, c.Before)
		},
	})
}

// stands says whether a server runs with what is wished. It is also looked at the
// certificate itself: two of them may end at the same moment.
func (s servers) stands(ctx context.Context, nc *nats.Conn, server rolling.Server, with reloading) (bool, error) {
	want, err := s.want(server.Name)
	if err != nil {
		return false, err
	}
	have, err := rolling.Loaded(ctx, nc, server)
	if err != nil || have != want {
		return false, err
	}
	shown, err := with.shown(ctx, server.Name)
	if err != nil {
		return false, fmt.Errorf("server %s: %w", server.Name, err)
	}
	return shown.Equal(s.certificate), nil
}

// reloadOne reloads a server until it runs with what is wished: its files may be those of
// before for a while.
func (s servers) reloadOne(ctx context.Context, nc *nats.Conn, server rolling.Server, with reloading) error {
	stands, err := s.stands(ctx, nc, server, with)
	if err != nil || stands {
		return err
	}
	want, err := s.want(server.Name)
	if err != nil {
		return err
	}
	if err := with.touch(ctx, server.Name, digest(fmt.Append(s.certificate.Raw, want))); err != nil {
		return err
	}
	for _, pause := range with.pause() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if err := rolling.Reload(ctx, nc, server); err != nil {
			return err
		}
		if stands, err = s.stands(ctx, nc, server, with); err != nil || stands {
			return err
		}
		with.tell("Server %s has read files of before: the node has not brought the changed Secrets to its pod yet.", server.Name)
	}
	return fmt.Errorf("the files in its pod are those of before: %w", errNotBrought)
}

// errNotBrought says that a node does not bring changed Secrets to a pod.
var errNotBrought = errors.New("the node has not brought the changed Secrets there; install again, or restart the servers: kubectl rollout restart statefulset/" + names.NATS)
