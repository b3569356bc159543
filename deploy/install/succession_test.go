package install

import (
	"context"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
)

func newTestAuthority(t *testing.T, name string) *authority.Authority {
	t.Helper()
	ca, err := authority.New(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issuedBy is what is recorded of an installation with an issuer; empty: none.
func issuedBy(namespace, issuer string) *Record {
	b := &Record{State: Installed, Version: "v0.1.0", Profile: "production", Values: chart.Values{
		"callout": chart.Values{"enabled": false}, "devices": chart.Values{"host": "devices.example.com"},
	}}
	if issuer != "" {
		b.Values["nats"] = chart.Values{"tls": chart.Values{"certManager": chart.Values{"issuer": issuer, "kind": "Issuer"}}}
		b.Objects = []Ref{{certManagerVersion, "Certificate", namespace, names.NATS}}
	}
	return b
}

func TestAnotherAuthorityIsWarnedOfWhereverItComesFrom(t *testing.T) {
	t.Parallel()
	i := withCertManager(t)
	first, second := newTestAuthority(t, "first").Pair().Certificate, newTestAuthority(t, "second").Pair().Certificate
	for name, tt := range map[string]struct {
		before, now string // issuers; empty: the fleet's own authority
		trusted     []byte // in ConfigMap fleet-ca; nil: there is none
		own, issued []byte // the fleet's own authority, and that in cert-manager's Secret
		warned      bool
	}{
		"nothing was installed":                       {"", "a", nil, nil, nil, false},
		"the fleet's own stays":                       {"", "", first, first, nil, false},
		"the fleet's own is another":                  {"", "", first, second, nil, true},
		"the fleet's own is another, and both are in": {"", "", slices.Concat(first, second), second, nil, false},
		"from the fleet's own to an issuer":           {"", "a", first, first, nil, true},
		"from an issuer to the fleet's own":           {"a", "", first, nil, first, true},
		"from an issuer to the fleet's own of before": {"a", "", first, second, first, true},
		"from one issuer to another":                  {"a", "b", first, nil, first, true},
		"an issuer whose authority stays":             {"a", "a", first, nil, first, false},
		"an issuer whose authority is another":        {"a", "a", first, nil, second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newIssuing(t, i.Cluster)
			r := in.run(t, tt.now, "Issuer")
			r.before = issuedBy(in.namespace, tt.before)
			put := func(o *unstructured.Unstructured) {
				if _, err := r.applier.Apply(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			if tt.trusted != nil {
				put(trusted(in.namespace, names.ConfigMapCA, tt.trusted))
			}
			if tt.own != nil {
				put(secret(in.namespace, credentials.SecretAuthority, typeTLS, map[string][]byte{names.KeyCert: tt.own, names.KeyKey: []byte("key")}))
			}
			if tt.issued != nil {
				put(secret(in.namespace, names.SecretTLS, typeTLS, map[string][]byte{names.KeyCert: []byte("x"), names.KeyKey: []byte("key"), names.KeyCA: tt.issued}))
			}
			found, err := r.succession(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if warned := len(found) == 1 && found[0].Level == cluster.Warn && found[0].Remedy != ""; warned != tt.warned || len(found) > 1 {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// cert-manager would go on to write the Secret, whose fields are its own.
func TestTheFleetsOwnAuthorityTakesTheCertificateBack(t *testing.T) {
	t.Parallel()
	i := withCertManager(t)
	i.issuer(t, "corporate", "ca")
	issued := i.run(t, "corporate", "Issuer")
	for _, o := range issued.objects.First {
		if o.GetKind() == "Certificate" {
			if err := issued.put(t.Context(), "objects", o); err != nil {
				t.Fatal(err)
			}
		}
	}
	corporate := newTestAuthority(t, "corporate").Pair()
	kept := secret(i.namespace, names.SecretTLS, typeTLS, map[string][]byte{
		names.KeyCert: corporate.Certificate, names.KeyKey: corporate.Key, names.KeyCA: corporate.Certificate,
	})
	kept.SetAnnotations(map[string]string{certificateNameAnnotation: names.NATS})
	secrets := i.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(i.namespace)
	if _, err := secrets.Apply(t.Context(), names.SecretTLS, kept, metav1.ApplyOptions{FieldManager: "cert-manager-certificates-issuing"}); err != nil {
		t.Fatal(err)
	}
	if _, err := issued.applier.Apply(t.Context(), trusted(i.namespace, names.ConfigMapCA, corporate.Certificate)); err != nil {
		t.Fatal(err)
	}

	for _, dry := range []bool{true, false} {
		r := i.run(t, "", "Issuer")
		r.before = issuedBy(i.namespace, "corporate")
		r.DryRun, r.applier.DryRun = dry, dry
		rights, err := r.rights()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(rights, cluster.Right{Verb: "delete", Resource: "secrets", Namespace: i.namespace}) {
			t.Error("it is not asked for the right to delete the Secret")
		}
		var told []string
		r.Tell = func(p Progress) { told = append(told, p.Sentence) }
		for _, step := range []func(context.Context) error{r.released, r.credentials} {
			if err := step(t.Context()); err != nil {
				t.Fatalf("dry run %v: %v", dry, err)
			}
		}
		if said := strings.Join(told, "\n"); !strings.Contains(said, "ConfigMap fleet-ca gets another authority") {
			t.Errorf("told %q", said)
		}
	}
	if _, err := i.resource("certificates").Namespace(i.namespace).Get(t.Context(), names.NATS, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("cert-manager goes on to write it: %v", err)
	}
	made, err := issued.client.CoreV1().Secrets(i.namespace).Get(t.Context(), names.SecretTLS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := issued.client.CoreV1().Secrets(i.namespace).Get(t.Context(), credentials.SecretAuthority, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(made.Data[names.KeyCA])
	if block == nil || !includes(own.Data[names.KeyCert], made.Data[names.KeyCA]) || made.Annotations[certificateNameAnnotation] != "" {
		t.Errorf("the Secret is not the fleet's own: %v", made.Annotations)
	}
}
