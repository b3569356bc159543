package install

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/credentials"
)

const (
	typeOpaque = "Opaque"
	typeTLS    = "kubernetes.io/tls"
)

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": appName, "app.kubernetes.io/managed-by": apply.FieldManager}
}

func secret(namespace, name, kind string, values map[string][]byte) *unstructured.Unstructured {
	o := Ref{"v1", "Secret", namespace, name}.Object()
	o.SetLabels(labels())
	o.Object["type"] = kind
	apply.SetData(o, values)
	return o
}

// trusted is a ConfigMap with an authority's certificate, for those who trust it.
func trusted(namespace, name string, certificate []byte) *unstructured.Unstructured {
	o := Ref{"v1", "ConfigMap", namespace, name}.Object()
	o.SetLabels(labels())
	o.Object["data"] = map[string]any{names.KeyCA: string(certificate)}
	return o
}

// newAuthority makes the fleet's own certificate authority.
func newAuthority(namespace string, now time.Time) (*authority.Authority, error) {
	return authority.New("Harmony Fleet, "+namespace, now)
}

// parseAuthority reads the authority out of its Secret.
func parseAuthority(name string, values map[string][]byte) (*authority.Authority, error) {
	ca, err := authority.Parse(pairOf(values))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; put the right one back from a backup", name, err)
	}
	return ca, nil
}

// authoritySecret has the fleet's own authority, with its key.
func authoritySecret(namespace string, ca *authority.Authority) *unstructured.Unstructured {
	return secret(namespace, credentials.SecretAuthority, typeTLS, map[string][]byte{names.KeyCert: ca.Pair().Certificate, names.KeyKey: ca.Pair().Key})
}

// serverSecret has the NATS servers' certificate, and the authority that signed it.
func serverSecret(namespace string, pair authority.Pair, ca *authority.Authority) *unstructured.Unstructured {
	return secret(namespace, names.SecretTLS, typeTLS, map[string][]byte{
		names.KeyCert: pair.Certificate, names.KeyKey: pair.Key, names.KeyCA: ca.Pair().Certificate,
	})
}

// pairOf is the certificate and the key of a Secret of type kubernetes.io/tls; empty
// where there is none.
func pairOf(values map[string][]byte) authority.Pair {
	return authority.Pair{Certificate: values[names.KeyCert], Key: values[names.KeyKey]}
}

func sameData(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, slices.Equal[[]byte]) }
