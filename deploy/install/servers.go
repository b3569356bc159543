package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
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
	remembered  string            // of servers.restarted; empty: they say what is computed
	// as has the digests that servers say and that are taken for theirs; nil: those that
	// are computed are theirs.
	as map[string]string
}

// projected is how long it is waited, each time, for the kubelet to bring a changed Secret
// to a pod: each reload ends the connections of the devices of that server.
func projected() []time.Duration {
	return []time.Duration{5 * time.Second, 25 * time.Second, 2 * time.Minute}
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
	digest, err := s.digest(server)
	if as, found := s.as[server]; found {
		digest = as
	}
	want := rolling.Configuration{Digest: digest, CertificateEnds: s.certificate.NotAfter.UTC()}
	if s.routes != nil {
		want.RoutesEnd = s.routes.NotAfter.UTC()
	}
	return want, err
}

// digest is what a server says of its configuration once it has read it, as it is
// computed here.
func (s servers) digest(server string) (string, error) {
	environment := map[string]string{}
	for _, e := range s.set.Spec.Template.Spec.Containers[0].Env {
		environment[e.Name] = e.Value
		if e.ValueFrom != nil {
			environment[e.Name] = server // of a server only its name is its own
		}
	}
	return rolling.Digest(s.conf, map[string]string{names.KeyAccounts: s.accounts}, environment)
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
	if s.as, err = s.taken(ctx, nc, all); err != nil {
		return err
	}
	behind := 0
	for _, server := range all {
		differs, err := s.differs(ctx, nc, server, with)
		if err != nil {
			return err
		}
		if differs != "" {
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

// differs says in what a server does not run with what is wished; empty: in nothing. It is
// also looked at the certificate itself: two of them may end at the same moment.
func (s servers) differs(ctx context.Context, nc *nats.Conn, server rolling.Server, with reloading) (string, error) {
	want, err := s.want(server.Name)
	if err != nil {
		return "", err
	}
	have, err := rolling.Loaded(ctx, nc, server)
	if err != nil {
		return "", err
	}
	shown, err := with.shown(ctx, server.Name)
	switch {
	case err != nil:
		return "", fmt.Errorf("server %s: %w", server.Name, err)
	case !shown.Equal(s.certificate), !have.CertificateEnds.Equal(want.CertificateEnds):
		return "it shows devices another certificate than that in its Secret", nil
	case !have.RoutesEnd.Equal(want.RoutesEnd):
		return "it shows the other servers another certificate than that in its Secret", nil
	case have.Digest != want.Digest:
		return fmt.Sprintf("it says digest %s of its configuration, and %s is wished", have.Digest, want.Digest), nil
	}
	return "", nil
}

// reloadOne reloads a server until it runs with what is wished: its files may be those of
// before for a while.
func (s servers) reloadOne(ctx context.Context, nc *nats.Conn, server rolling.Server, with reloading) error {
	differs, err := s.differs(ctx, nc, server, with)
	if err != nil || differs == "" {
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
		if differs, err = s.differs(ctx, nc, server, with); err != nil || differs == "" {
			return err
		}
		with.tell("Server %s has read its files, and %s: the node may not have brought the changed Secrets to its pod yet.", server.Name, differs)
	}
	return fmt.Errorf("%w: %s", errNotRead, differs)
}

// errNotRead says that a server does not run with what is wished, however often it reads
// its files: the node does not bring them, or the server is of a version that says
// another digest of them than is computed here.
var errNotRead = errors.New("the server has read its files again and again")

// restarted looks at servers that read their files at their start. Where they say other
// digests of them than are computed here, it gives the sum of both, by which the next run
// knows that nothing has changed since; empty: they say what is computed.
func (s servers) restarted(ctx context.Context, nc *nats.Conn, with reloading) (string, error) {
	all, err := rolling.Servers(ctx, nc, s.many(), with.timeout)
	if err != nil {
		return "", err
	}
	said, computed, err := s.digests(ctx, nc, all)
	if err != nil {
		return "", err
	}
	s.as = said
	for _, server := range all {
		differs, err := s.differs(ctx, nc, server, with)
		if err != nil {
			return "", err
		}
		if differs != "" {
			return "", fmt.Errorf("server %s was restarted, and %s: install again, or look at the kubelet of its node", server.Name, differs)
		}
	}
	if maps.Equal(said, computed) {
		return "", nil
	}
	return sum(said, computed), nil
}

// taken is what the servers said after a restart, where they still say so of the same
// files.
func (s servers) taken(ctx context.Context, nc *nats.Conn, all []rolling.Server) (map[string]string, error) {
	if s.remembered == "" {
		return nil, nil
	}
	said, computed, err := s.digests(ctx, nc, all)
	if err != nil || sum(said, computed) != s.remembered {
		return nil, err
	}
	return said, nil
}

// digests are what servers say of their configuration, and what is computed of it.
func (s servers) digests(ctx context.Context, nc *nats.Conn, all []rolling.Server) (said, computed map[string]string, err error) {
	said, computed = map[string]string{}, map[string]string{}
	for _, server := range all {
		have, err := rolling.Loaded(ctx, nc, server)
		if err != nil {
			return nil, nil, err
		}
		said[server.Name] = have.Digest
		if computed[server.Name], err = s.digest(server.Name); err != nil {
			return nil, nil, err
		}
	}
	return said, computed, nil
}

// sum is of digests by the servers' names, which fmt sorts.
func sum(said, computed map[string]string) string { return digest(fmt.Append(nil, said, computed)) }
