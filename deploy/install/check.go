package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/tunnel"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/phrase"
)

// CheckError says that all parts are ready, and the fleet cannot be used all the same.
type CheckError struct {
	What   string
	Err    error
	Remedy string
}

func (e *CheckError) Error() string { return fmt.Sprintf("%s: %v", e.What, e.Err) }

func (e *CheckError) Unwrap() error { return e.Err }

const (
	connectTimeout = 10 * time.Second
	// outsideTimeout is how long a Service may take to let traffic through once it is
	// there: load balancers take longest.
	outsideTimeout = 2 * time.Minute
	// untrustedAfter is how long a former certificate may be shown.
	untrustedAfter = 30 * time.Second
	tryEvery       = time.Second
)

// check uses the fleet as an administrator does: through the cluster's API, and then
// by the way that devices take.
func (r *run) check(ctx context.Context) error {
	if r.DryRun || r.SkipCheck {
		return nil
	}
	s := r.settings
	admin, roots, err := r.access(ctx)
	if err != nil {
		return err
	}
	if !s.NATS.Enabled {
		r.say("check", "The NATS servers are another installation's, and are not checked here.")
	} else if err := r.checkInside(ctx, admin, roots); err != nil {
		return unreadable(r.Namespace, s.NATS.TLS.ClientsSecret, err)
	}
	if err := r.balancer(ctx); err != nil {
		return err
	}
	urls := outsideURLs(s)
	for _, url := range urls {
		if err := r.checkOutside(ctx, url, admin, roots); err != nil {
			return unreachable(url, s.NATS.TLS.ClientsSecret, err)
		}
		r.say("check", "The NATS servers answer at %s.", url)
	}
	if s.Callout.Enabled && r.Probe != nil && len(urls) > 0 {
		if err := r.Probe(ctx, urls[0], roots); err != nil {
			return &CheckError{
				"a device's identity does not get in", err,
				"Read the callout's log: kubectl -n " + r.Namespace + " logs deployment/" + names.Callout + ". Then install again, or use --skip-check.",
			}
		}
		r.say("check", "A device's identity was made at the provider, got in at %s, and was deleted.", urls[0])
	}
	return nil
}

// access reads the administrator's login, and whose certificates are trusted.
func (r *run) access(ctx context.Context) (accounts.Login, *x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	trusted, err := r.applier.Get(ctx, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapCA}.Object())
	if err != nil {
		return accounts.Login{}, nil, err
	}
	if trusted != nil {
		text, _, err := unstructured.NestedString(trusted.Object, "data", names.KeyCA)
		if err != nil {
			return accounts.Login{}, nil, fmt.Errorf("ConfigMap %s: %w", names.ConfigMapCA, err)
		}
		roots.AppendCertsFromPEM([]byte(text))
	}
	return r.secrets.Admin(), roots, nil
}

// checkInside waits until the operator has made the event log.
func (r *run) checkInside(ctx context.Context, admin accounts.Login, roots *x509.CertPool) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var last error
	for {
		if last = r.readLog(ctx, admin, roots); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(tryEvery):
		}
	}
}

func (r *run) readLog(ctx context.Context, admin accounts.Login, roots *x509.CertPool) error {
	way, err := tunnel.Open(ctx, r.Config, r.Namespace, names.NATS+"-0", names.PortNATS)
	if err != nil {
		return err
	}
	defer way.Close()
	url := "tls://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(way.Port)))
	nc, err := connect(url, admin, &tls.Config{RootCAs: roots, ServerName: innerName(r.Namespace), MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	info, err := logstream.Inspect(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return errors.New("no operator has made the event log yet")
	}
	if err != nil {
		return err
	}
	r.say("check", "The event log is there: %s, %s.", phrase.Number(int(info.Last), "event", "events"), phrase.Number(info.Replicas, "replica", "replicas"))
	return nil
}

func (r *run) checkOutside(ctx context.Context, url string, admin accounts.Login, roots *x509.CertPool) error {
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	began := time.Now()
	for {
		nc, err := connect(url, admin, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err == nil {
			_, err = nc.RTT()
			nc.Close()
		}
		if err == nil || distrust(err) != "" && ctx.Err() == nil && time.Since(began) > untrustedAfter {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tryEvery):
		}
	}
}

func connect(url string, as accounts.Login, config *tls.Config) (*nats.Conn, error) {
	return nats.Connect(url, nats.Name("fleetctl install"), nats.UserInfo(as.User, as.Password), nats.Secure(config),
		nats.Timeout(connectTimeout), nats.NoReconnect(), nats.IgnoreDiscoveredServers())
}

// outsideURLs is how devices reach the servers, the preferred way first; nothing where
// that is not known.
func outsideURLs(s settings) []string {
	host := s.Devices.Host
	at := func(scheme string, port int) string { return scheme + net.JoinHostPort(host, strconv.Itoa(port)) }
	switch {
	case host == "":
		return nil
	case s.Devices.Expose == cluster.ExposeNodePort:
		var urls []string // a port of 0 is one that the cluster chooses
		if port := s.Devices.NodePort.WebSocket; port != 0 {
			urls = append(urls, at("wss://", port))
		}
		if port := s.Devices.NodePort.NATS; port != 0 {
			urls = append(urls, at("tls://", port))
		}
		return urls
	case s.Devices.Expose == cluster.ExposeLoadBalancer:
		return []string{at("wss://", s.Devices.LoadBalancer.WebSocketPort), at("tls://", names.PortNATS)}
	case s.Devices.Expose == cluster.ExposeIngress, s.Devices.Expose == cluster.ExposeRoute, s.Devices.Expose == cluster.ExposeHTTPRoute:
		return []string{"wss://" + host}
	}
	return nil
}
