package install

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/cluster"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// certManagerKinds are cert-manager's, as far as the fleet uses them: what is not in the
// schema is refused.
const certManagerKinds = `
- metadata: {name: certificates.cert-manager.io}
  spec:
    group: cert-manager.io
    scope: Namespaced
    names: {plural: certificates, kind: Certificate}
    versions:
      - name: v1
        served: true
        storage: true
        subresources: {status: {}}
        schema:
          openAPIV3Schema:
            type: object
            properties:
              spec:
                type: object
                required: [issuerRef, secretName]
                properties:
                  secretName: {type: string}
                  commonName: {type: string}
                  duration: {type: string}
                  renewBefore: {type: string}
                  dnsNames: {type: array, items: {type: string}, x-kubernetes-list-type: atomic}
                  ipAddresses: {type: array, items: {type: string}, x-kubernetes-list-type: atomic}
                  issuerRef:
                    type: object
                    required: [name]
                    properties: {name: {type: string}, kind: {type: string}, group: {type: string}}
                  privateKey:
                    type: object
                    properties:
                      algorithm: {type: string, enum: [RSA, ECDSA, Ed25519]}
                      rotationPolicy: {type: string, enum: [Never, Always]}
                      size: {type: integer}
                  usages:
                    type: array
                    x-kubernetes-list-type: atomic
                    items: {type: string, enum: [signing, digital signature, key encipherment, server auth, client auth]}
              status: {type: object, x-kubernetes-preserve-unknown-fields: true}
- metadata: {name: clusterissuers.cert-manager.io}
  spec: &issuer
    group: cert-manager.io
    scope: Cluster
    names: {plural: clusterissuers, kind: ClusterIssuer}
    versions: &any
      - name: v1
        served: true
        storage: true
        subresources: {status: {}}
        schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
- metadata: {name: issuers.cert-manager.io}
  spec:
    group: cert-manager.io
    scope: Namespaced
    names: {plural: issuers, kind: Issuer}
    versions: *any
`

// issuing is a cluster with cert-manager's API, in which the test plays cert-manager.
type issuing struct {
	*localapitest.Cluster
	dynamic   dynamic.Interface
	namespace string
}

func newIssuing(t *testing.T, cluster *localapitest.Cluster) issuing {
	t.Helper()
	client, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	return issuing{cluster, client, cluster.Namespace(t)}
}

func withCertManager(t *testing.T) issuing {
	t.Helper()
	c := localapitest.Private(t)
	client, err := clientset.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	var definitions []*apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal([]byte(certManagerKinds), &definitions); err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions {
		if _, err := client.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	i := newIssuing(t, c)
	for _, d := range definitions { // it is served a moment later
		resource := i.resource(d.Spec.Names.Plural)
		for {
			_, err := resource.List(t.Context(), metav1.ListOptions{})
			if err == nil {
				break
			}
			if !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return i
}

func (i issuing) resource(plural string) dynamic.NamespaceableResourceInterface {
	return i.dynamic.Resource(schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: plural})
}

// issuer makes an issuer in the namespace.
func (i issuing) issuer(t *testing.T, name, kind string) {
	t.Helper()
	o := Ref{certManagerVersion, "Issuer", i.namespace, name}.Object()
	o.Object["spec"] = map[string]any{kind: map[string]any{}}
	if _, err := i.resource("issuers").Namespace(i.namespace).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run is an installation whose certificate is of an issuer, up to what was rendered.
func (i issuing) run(t *testing.T, issuer, kind string) *run {
	t.Helper()
	values := chart.Values{
		"callout": chart.Values{"enabled": false}, "devices": chart.Values{"host": "devices.example.com"},
		"nats": chart.Values{"tls": chart.Values{"certManager": chart.Values{"issuer": issuer, "kind": kind}}},
	}
	return i.begun(t, values)
}

// begun is an installation with these values, up to what was rendered.
func (i issuing) begun(t *testing.T, values chart.Values) *run {
	t.Helper()
	r, err := begin(Options{
		Config: i.Config, Namespace: i.namespace, Profile: "production", Values: values, Version: "v0.1.0", Timeout: time.Minute, Now: time.Now,
		Found: func([]cluster.Finding) {}, Tell: func(p Progress) { t.Logf("%s: %s", p.Step, p.Sentence) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(context.Context) error{r.look, r.settle, r.render} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestPreflightSaysWhatIsWrongWithTheIssuer(t *testing.T) {
	t.Parallel()
	with := withCertManager(t)
	with.issuer(t, "letsencrypt", "acme")
	with.issuer(t, "self", "selfSigned")
	with.issuer(t, "corporate", "ca")
	without := newIssuing(t, localapitest.Shared(t))
	for name, tt := range map[string]struct {
		cluster      issuing
		issuer, kind string
		level        cluster.Level
		says         string
	}{
		"no cert-manager":     {without, "corporate", "Issuer", cluster.Refuse, "the cluster does not serve cert-manager.io"},
		"no such issuer":      {with, "corporate", "ClusterIssuer", cluster.Refuse, "There is no ClusterIssuer corporate"},
		"a public authority":  {with, "letsencrypt", "Issuer", cluster.Refuse, "signs no names inside of a cluster"},
		"none at all":         {with, "self", "Issuer", cluster.Refuse, "signs each certificate by itself"},
		"an authority":        {with, "corporate", "Issuer", "", ""},
		"not asked for":       {with, "", "Issuer", cluster.Note, "of the fleet's own authority all the same"},
		"neither, not needed": {without, "", "Issuer", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := tt.cluster.run(t, tt.issuer, tt.kind).issuer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tt.level == "" {
				if len(found) > 0 {
					t.Errorf("found: %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Level != tt.level || !strings.Contains(found[0].Sentence, tt.says) || found[0].Remedy == "" {
				t.Errorf("found: %+v, want %q", found, tt.says)
			}
		})
	}
}

func TestTheServersCertificateComesFromCertManager(t *testing.T) {
	t.Parallel()
	i := withCertManager(t)
	i.issuer(t, "corporate", "ca")
	r := i.run(t, "corporate", "Issuer")
	if r.settings.ownCertificate() {
		t.Fatal("the fleet's own authority would make it, too")
	}
	certificate := r.objects.First[len(r.objects.First)-1]
	for _, o := range r.objects.First {
		if o.GetKind() == "Certificate" {
			certificate = o
		}
	}
	if err := r.put(t.Context(), "objects", certificate); err != nil { // strict: cert-manager has each field
		t.Fatal(err)
	}
	// What an older generation of it was is not what is wished now.
	if err := i.play(t, 0, "True", "it is of before", "old"); err != nil {
		t.Fatal(err)
	}
	var told []string
	r.Tell = func(p Progress) { told = append(told, p.Sentence) }
	done := make(chan error, 1)
	go func() { done <- r.certified(t.Context()) }()
	if err := i.play(t, 1, "False", "Issuing certificate as Secret does not exist", ""); err != nil {
		t.Fatal(err)
	}
	if err := i.play(t, 1, "True", "Certificate is up to date and has not expired", "new"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ca, err := r.applier.Get(t.Context(), Ref{"v1", "ConfigMap", i.namespace, names.ConfigMapCA}.Object())
	if err != nil || ca == nil {
		t.Fatalf("what pods trust: %v, %v", ca, err)
	}
	issued, err := r.client.CoreV1().Secrets(i.namespace).Get(t.Context(), names.SecretTLS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(ca.Object, "data", names.KeyCA); got != string(issued.Data[names.KeyCA]) {
		t.Errorf("pods trust %q", got)
	}
	if said := strings.Join(told, "\n"); !strings.Contains(said, "WARNING: the issuer gives the NATS servers a certificate of 769h, and one of 26280h was wished") {
		t.Errorf("told %q", said)
	}
}

// An issuer may give shorter certificates than are wished, such as Vault by its role.
func TestWhenTheInstallationMustRunAgainIsTold(t *testing.T) {
	t.Parallel()
	const wished, before = 26280 * time.Hour, 8760 * time.Hour
	start := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		whole time.Duration
		says  []string
	}{
		"as long as is wished":  {wished, []string{"The NATS servers' certificate is cert-manager's", "on 2028-11-30", "between then and 2029-11-30"}},
		"a little shorter":      {20000 * time.Hour, []string{"The NATS servers' certificate is cert-manager's"}},
		"of Vault's default":    {768 * time.Hour, []string{"WARNING", "a certificate of 768h, and one of 26280h", "on 2026-12-22", "between then and 2027-01-02"}},
		"of a day":              {24 * time.Hour, []string{"WARNING", "on 2026-12-02 04:00 UTC", "between then and 2026-12-02 12:00 UTC"}},
		"shorter than the time": {before, []string{"WARNING", "on 2027-08-01"}},
	} {
		said := life(&x509.Certificate{NotBefore: start, NotAfter: start.Add(tt.whole)}, wished, before)
		for _, part := range tt.says {
			if !strings.Contains(said, part) {
				t.Errorf("%s: %q lacks %q", name, said, part)
			}
		}
	}
}

func TestACertificateThatIsNotMadeIsTold(t *testing.T) {
	t.Parallel()
	i := withCertManager(t)
	i.issuer(t, "corporate", "ca")
	r := i.run(t, "corporate", "Issuer")
	for _, o := range r.objects.First {
		if o.GetKind() == "Certificate" {
			if err := r.put(t.Context(), "objects", o); err != nil {
				t.Fatal(err)
			}
		}
	}
	const why = "the CA's key is not there"
	if err := i.play(t, 1, "False", why, ""); err != nil {
		t.Fatal(err)
	}
	r.Timeout = 100 * time.Millisecond
	var check *CheckError
	if err := r.certified(t.Context()); !errors.As(err, &check) || !strings.Contains(check.Error(), why) || check.Remedy == "" {
		t.Errorf("got %v", err)
	}
	r.Timeout = time.Minute
	if err := i.play(t, 1, "True", "it is there", "x"); err != nil {
		t.Fatal(err)
	}
	client := r.client.CoreV1().Secrets(i.namespace)
	s, err := client.Get(t.Context(), names.SecretTLS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(s.Data, names.KeyCA)
	if _, err := client.Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.certified(t.Context()); !errors.As(err, &check) || !strings.Contains(check.Error(), "no authority beside it") {
		t.Errorf("without an authority: %v", err)
	}
}

// play says how the Certificate stands, and puts a certificate into its Secret.
func (i issuing) play(t *testing.T, generation int64, status, message, certificate string) error {
	t.Helper()
	client := i.resource("certificates").Namespace(i.namespace)
	o, err := client.Get(t.Context(), names.NATS, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if certificate != "" {
		r, err := begin(Options{Config: i.Config})
		if err != nil {
			return err
		}
		secrets := r.client.CoreV1().Secrets(i.namespace)
		ca := newTestAuthority(t, certificate)
		pair, err := ca.Server(authority.Server{Name: certificate, Until: time.Now().Add(768 * time.Hour)}, time.Now())
		if err != nil {
			return err
		}
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: names.SecretTLS}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{names.KeyCert: pair.Certificate, names.KeyKey: pair.Key, names.KeyCA: ca.Pair().Certificate},
		}
		if _, err := secrets.Create(t.Context(), s, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	o.Object["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": "Ready", "status": status, "message": message, "observedGeneration": generation,
	}}}
	_, err = client.UpdateStatus(t.Context(), o, metav1.UpdateOptions{})
	return err
}
