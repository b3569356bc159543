package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"

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
	return r.reloadBy(ctx, s, restarting{
		reloading: reloading{
			touch: r.touch, shown: r.shown, tell: func(format string, args ...any) { r.say(string(NATS), format, args...) }, timeout: r.Timeout, pause: projected,
		},
		inside: r.inside, restart: restart,
		remember: func(ctx context.Context, sum string) error { return r.remark(ctx, object.GetName(), sum) },
	})
}

// restarting is what is needed to reload servers, and to restart them.
type restarting struct {
	reloading
	inside   func(context.Context, func(*nats.Conn) error) error // in the servers' own account
	restart  func() error
	remember func(ctx context.Context, sum string) error // see servers.restarted
}

func (r *run) reloadBy(ctx context.Context, s servers, with restarting) error {
	err := with.inside(ctx, func(nc *nats.Conn) error { return s.reload(ctx, nc, with.reloading) })
	why := r.reasonToRestart(err)
	if why == "" {
		return err
	}
	if distrust(err) != "" { // a restart shows the Secret's certificate, which may be the one that is shown
		shown, failed := with.shown(ctx, names.NATS+"-0")
		if failed != nil {
			return failed
		}
		if shown.Equal(s.certificate) {
			return unreadable(r.Namespace, r.settings.NATS.TLS.ClientsSecret, err)
		}
	}
	with.tell("%s The NATS servers are restarted, one after the other.", why)
	if failed := with.restart(); failed != nil || !errors.Is(err, errNotRead) {
		return failed
	}
	return with.inside(ctx, func(nc *nats.Conn) error {
		sum, err := s.restarted(ctx, nc, with.reloading)
		if err != nil || sum == "" {
			return err
		}
		with.tell("The NATS servers have read their files at their start, and say another digest of them than this fleetctl computes. fleetctl takes it for theirs as long as nothing changes.")
		return with.remember(ctx, sum)
	})
}

// inside connects to the servers' own account by the first of them.
func (r *run) inside(ctx context.Context, use func(*nats.Conn) error) error {
	_, roots, err := r.access(ctx)
	if err != nil {
		return err
	}
	way, err := tunnel.Open(ctx, r.Config, r.Namespace, names.NATS+"-0", names.PortNATS)
	if err != nil {
		return err
	}
	defer way.Close()
	return r.insideAt("tls://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(int(way.Port))), roots, use)
}

func (r *run) insideAt(url string, roots *x509.CertPool, use func(*nats.Conn) error) error {
	login := r.secrets.System()
	nc, err := nats.Connect(url, nats.Name("fleetctl install"), nats.UserInfo(login.User, login.Password),
		nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.ReconnectWait(tryEvery), nats.IgnoreDiscoveredServers(),
		nats.Secure(&tls.Config{RootCAs: roots, ServerName: innerName(r.Namespace), MinVersion: tls.VersionTLS12}))
	if err != nil {
		return fmt.Errorf("connect to the NATS servers' own account through the Kubernetes API: %w", err)
	}
	defer nc.Close()
	return use(nc)
}

// reasonToRestart says why nothing but a restart has the servers read what is wished;
// empty: another error, or none.
func (r *run) reasonToRestart(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return fmt.Sprintf("The NATS servers show a certificate that does not hold any more: %v. Where they do not become ready, it does not hold between them either: "+
			"kubectl -n %s delete pod -l %s=%s.", certificate.Err, r.Namespace, componentLabel, NATS)
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Sprintf("The NATS servers know another password than that of Secret %s.", names.SecretSystem)
	case errors.Is(err, rolling.ErrNotReloadable), errors.Is(err, errNotRead):
		return fmt.Sprintf("A reload is not enough: %v.", err)
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
		values, err := apply.Data(there)
		return values[key], err
	}
	there, err := r.applier.Get(ctx, object)
	if err != nil {
		return s, err
	}
	if there != nil {
		s.remembered = there.GetAnnotations()[readAnnotation]
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

// remark keeps beside the StatefulSet what its servers said after a restart.
func (r *run) remark(ctx context.Context, name, sum string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{readAnnotation: sum}}})
	if err != nil {
		return err
	}
	if _, err := r.client.AppsV1().StatefulSets(r.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: apply.FieldManager}); err != nil {
		return fmt.Errorf("annotation of StatefulSet %s: %w", name, err)
	}
	return nil
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
