package install

import (
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
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/tunnel"
	"fleet.nationtech.io/deploy/rolling"
)

// readAtReload are the annotations of what NATS servers read again without a restart.
func readAtReload() []string { return []string{accountsAnnotation, certificateAnnotation} }

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
	for _, name := range readAtReload() {
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

// servers is what is needed to have the NATS servers read their files again.
type servers struct {
	set         appsv1.StatefulSet
	conf        string // nats.conf
	accounts    string // which it includes
	certificate time.Time
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
	return r.reloadAt(ctx, url, roots, s, restart)
}

// reloadAt does so by one of the servers.
func (r *run) reloadAt(ctx context.Context, url string, roots *x509.CertPool, s servers, restart func() error) error {
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
		touch: r.touch, tell: func(format string, args ...any) { r.say(string(NATS), format, args...) }, timeout: r.Timeout, pause: projected,
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
	certificate, err := secret(r.settings.NATS.TLS.ClientsSecret, names.KeyCert)
	if err != nil {
		return s, err
	}
	block, _ := pem.Decode(certificate)
	if block == nil {
		return s, fmt.Errorf("secret %s, key %s, is no certificate", r.settings.NATS.TLS.ClientsSecret, names.KeyCert)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return s, fmt.Errorf("secret %s, key %s: %w", r.settings.NATS.TLS.ClientsSecret, names.KeyCert, err)
	}
	s.certificate = leaf.NotAfter.UTC()
	return s, nil
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

// projected is how long it is waited, each time, for the kubelet to bring a changed Secret
// to a pod: each reload ends the connections of the devices of that server.
func projected() []time.Duration {
	return []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Minute}
}

// reloading is what servers.reload needs of its surroundings.
type reloading struct {
	touch   func(ctx context.Context, pod, mark string) error
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
	return rolling.Configuration{Digest: digest, CertificateEnds: s.certificate}, err
}

func (s servers) reload(ctx context.Context, nc *nats.Conn, with reloading) error {
	many := 1
	if s.set.Spec.Replicas != nil {
		many = int(*s.set.Spec.Replicas)
	}
	all, err := rolling.Servers(ctx, nc, many, with.timeout)
	if err != nil {
		return err
	}
	behind := 0
	for _, server := range all {
		stands, err := s.stands(ctx, nc, server)
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

// stands says whether a server runs with what is wished.
func (s servers) stands(ctx context.Context, nc *nats.Conn, server rolling.Server) (bool, error) {
	want, err := s.want(server.Name)
	if err != nil {
		return false, err
	}
	have, err := rolling.Loaded(ctx, nc, server)
	return have == want, err
}

// reloadOne reloads a server until it runs with what is wished: its files may be those of
// before for a while.
func (s servers) reloadOne(ctx context.Context, nc *nats.Conn, server rolling.Server, with reloading) error {
	stands, err := s.stands(ctx, nc, server)
	if err != nil || stands {
		return err
	}
	want, err := s.want(server.Name)
	if err != nil {
		return err
	}
	if err := with.touch(ctx, server.Name, digest([]byte(want.Digest+want.CertificateEnds.String()))); err != nil {
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
		if stands, err = s.stands(ctx, nc, server); err != nil || stands {
			return err
		}
		with.tell("Server %s has read files of before: the node has not brought the changed Secrets to its pod yet.", server.Name)
	}
	return fmt.Errorf("the files in its pod are those of before: %w", errNotBrought)
}

// errNotBrought says that a node does not bring changed Secrets to a pod.
var errNotBrought = errors.New("the node has not brought the changed Secrets there; install again, or restart the servers: kubectl rollout restart statefulset/" + names.NATS)
