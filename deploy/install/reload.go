package install

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/tunnel"
	"fleet.nationtech.io/deploy/rolling"
)

// keptAnnotations are those of what NATS servers read again without a restart, and that of
// their last restart.
func keptAnnotations() []string {
	return []string{accountsAnnotation, certificateAnnotation, restartedAnnotation}
}

// reloadable leaves the annotations of the servers' pods as they are in the cluster,
// where nothing else of the pods differs: then they are not restarted, and reload has
// them read what changed. It says whether the servers are there.
func (r *run) reloadable(ctx context.Context, servers *unstructured.Unstructured) (there bool, err error) {
	is, err := r.applier.Get(ctx, servers)
	if err != nil || is == nil {
		return false, err
	}
	path := []string{"spec", "template", "metadata", "annotations"}
	old, _, err := unstructured.NestedStringMap(is.Object, path...)
	if err != nil {
		return true, fmt.Errorf("%s: %w", apply.Name(is), err)
	}
	kept := map[string]string{}
	for _, name := range keptAnnotations() {
		if value, found := old[name]; found {
			kept[name] = value
		}
	}
	same := servers.DeepCopy()
	if err := annotateTemplate(same, kept); err != nil {
		return true, err
	}
	would, err := r.applier.Preview(ctx, same)
	var conflict *apply.Conflict
	if errors.As(err, &conflict) {
		return true, nil // to apply it says so
	}
	if err != nil {
		return true, err
	}
	if reflect.DeepEqual(template(is), template(would)) {
		return true, annotateTemplate(servers, kept)
	}
	return true, nil
}

func template(o *unstructured.Unstructured) any {
	t, _, err := unstructured.NestedFieldNoCopy(o.Object, "spec", "template")
	if err != nil {
		return nil
	}
	return t
}

// reload has the NATS servers read accounts and certificates again that they have not
// read yet, one after the other, each once the devices of the one before are back. What a
// reload cannot change, such as the seeds of the auth callout, restarts them, and so does
// what keeps this program from asking for a reload.
func (r *run) reload(ctx context.Context, object *unstructured.Unstructured, restart func() error) error {
	s, err := r.servers(ctx, object)
	if err != nil {
		return err
	}
	_, roots, err := r.access(ctx)
	if err != nil {
		return err
	}
	way, err := tunnel.Open(ctx, r.Config, r.Namespace, names.NATS+"-0", names.PortNATS)
	if err != nil {
		return err
	}
	defer way.Close()
	url := "tls://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(way.Port)))
	return r.reloadAt(ctx, url, roots, s, r.shown, restart)
}

// reloadAt does so by one of the servers.
func (r *run) reloadAt(ctx context.Context, url string, roots *x509.CertPool, s servers, shown look, restart func() error) error {
	login := r.secrets.System()
	nc, err := nats.Connect(url, nats.Name("fleetctl install"), nats.UserInfo(login.User, login.Password),
		nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.ReconnectWait(tryEvery), nats.IgnoreDiscoveredServers(),
		nats.Secure(&tls.Config{RootCAs: roots, ServerName: names.NATS + "." + r.Namespace + ".svc", MinVersion: tls.VersionTLS12}))
	if why := r.former(err); why != "" {
		r.say(string(NATS), "%s They are restarted, one after the other.", why)
		return restart()
	}
	if err != nil {
		return fmt.Errorf("connect to the NATS servers' own account through the Kubernetes API: %w", err)
	}
	defer nc.Close()
	err = s.reload(ctx, nc, reloading{
		touch: r.touch, shown: shown, tell: func(format string, args ...any) { r.say(string(NATS), format, args...) }, timeout: r.Timeout, pause: projected,
	})
	if errors.Is(err, rolling.ErrNotReloadable) {
		r.say(string(NATS), "The NATS servers are restarted, one after the other: %v.", err)
		return restart()
	}
	return err
}

// former says what of before keeps this program out of the servers, so that nothing but
// a restart has them read what is wished; empty: nothing of that kind.
func (r *run) former(err error) string {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Sprintf("The NATS servers show a certificate that does not hold any more: %v. Where they do not become ready, it does not hold between them either: "+
			"kubectl -n %s delete pod -l %s=%s.", certificate.Err, r.Namespace, componentLabel, NATS)
	}
	if errors.Is(err, nats.ErrAuthorization) {
		return fmt.Sprintf("The NATS servers know another password than that of Secret %s.", names.SecretSystem)
	}
	return ""
}

// servers reads what the servers should run with.
func (r *run) servers(ctx context.Context, object *unstructured.Unstructured) (s servers, err error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &s.set); err != nil {
		return s, fmt.Errorf("%s: %w", apply.Name(object), err)
	}
	for _, o := range r.objects.First {
		if o.GetKind() == "ConfigMap" && o.GetName() == names.NATS {
			if s.conf, _, err = unstructured.NestedString(o.Object, "data", "nats.conf"); err != nil {
				return s, fmt.Errorf("%s: %w", apply.Name(o), err)
			}
		}
	}
	secret := func(name, key string) ([]byte, error) {
		there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, name}.Object())
		if err != nil || there == nil {
			return nil, err
		}
		values, err := data(there)
		return values[key], err
	}
	accounts, err := secret(names.SecretAccounts, names.KeyAccounts)
	if err != nil {
		return s, err
	}
	s.accounts = string(accounts)
	certificate := func(name string) (*x509.Certificate, error) {
		text, err := secret(name, names.KeyCert)
		if err != nil {
			return nil, err
		}
		first, err := leaf(text)
		if err != nil {
			return nil, fmt.Errorf("secret %s, key %s: %w", name, names.KeyCert, err)
		}
		return first, nil
	}
	if s.certificate, err = certificate(r.settings.NATS.TLS.ClientsSecret); err != nil {
		return s, err
	}
	if s.many() > 1 {
		s.routes, err = certificate(r.settings.NATS.TLS.RoutesSecret)
	}
	return s, err
}

// leaf is the first certificate of a file, which is the one that its owner shows.
func leaf(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// shown is the certificate that a server shows to clients.
func (r *run) shown(ctx context.Context, pod string) (*x509.Certificate, error) {
	way, err := tunnel.Open(ctx, r.Config, r.Namespace, pod, names.PortNATS)
	if err != nil {
		return nil, err
	}
	defer way.Close()
	return certificateAt(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(way.Port))))
}

// certificateAt is the certificate that a NATS server shows there. Nothing is told to the
// server, so it need not be trusted.
func certificateAt(ctx context.Context, address string) (*x509.Certificate, error) {
	fail := func(err error) error { return fmt.Errorf("look at the certificate of the NATS server: %w", err) }
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fail(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, fail(err)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil { // the server speaks first, in plain text
		return nil, fail(err)
	}
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what it shows is looked at
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, fail(err)
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

// touch changes a pod's annotation: the kubelet then brings changed Secrets to the pod at
// once, and not only after a minute or two.
func (r *run) touch(ctx context.Context, pod, mark string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{"fleet.nationtech.io/reload": mark}}})
	if err != nil {
		return err
	}
	if _, err := r.client.CoreV1().Pods(r.Namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: apply.FieldManager}); err != nil {
		return fmt.Errorf("annotation of pod %s: %w", pod, err)
	}
	return nil
}
