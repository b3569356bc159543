package install_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install"
)

func manifest(more ...string) install.Manifest {
	return install.Manifest{Namespace: "fleet-system", Outside: more, Callout: true, Now: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)}
}

func complete(t *testing.T, m install.Manifest, present []byte) (text []byte, certificate string) {
	t.Helper()
	text, certificate, err := m.Complete(present)
	if err != nil {
		t.Fatal(err)
	}
	return text, certificate
}

// secretsOf lists each key of each object, with its value.
func secretsOf(t *testing.T, text []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		data, _, err := unstructured.NestedStringMap(o.Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range data {
			all[o.GetKind()+" "+o.GetName()+" "+k] = v
		}
	}
	return all
}

func TestTheManifestHasWhatTheChartsPodsNeed(t *testing.T) {
	t.Parallel()
	text, _ := complete(t, manifest(), nil)
	got := secretsOf(t, text)
	for _, want := range []string{
		"Secret " + names.SecretAccounts + " " + names.KeyAccounts,
		"Secret " + names.SecretTLS + " " + names.KeyCert, "Secret " + names.SecretTLS + " " + names.KeyKey, "Secret " + names.SecretTLS + " " + names.KeyCA,
		"ConfigMap " + names.ConfigMapCA + " " + names.KeyCA,
		"Secret " + names.SecretOperator + " " + names.KeyUser, "Secret " + names.SecretOperator + " " + names.KeyPassword,
		"Secret " + names.SecretCallout + " " + names.KeyAuthPassword, "Secret " + names.SecretCallout + " " + names.KeyLogPassword,
		"Secret " + names.SecretCallout + " " + names.KeySysPassword, "Secret " + names.SecretCallout + " " + names.KeyIssuerSeed,
		"Secret " + names.SecretCallout + " " + names.KeyXKeySeed,
	} {
		if got[want] == "" {
			t.Errorf("%s is missing", want)
		}
	}
}

// What was made once stays; only what follows from the names is made again.
func TestAManifestIsCompletedAndNotReplaced(t *testing.T) {
	t.Parallel()
	first, why := complete(t, manifest(), nil)
	if why == "" {
		t.Error("no certificate was made")
	}
	second, why := complete(t, manifest(), first)
	if why != "" || !bytes.Equal(first, second) {
		t.Errorf("it changed: certificate %q\n%s", why, cmp.Diff(string(first), string(second)))
	}
	third, why := complete(t, manifest("devices.example.com", "192.0.2.10"), first)
	if why != "the servers' names are others" {
		t.Errorf("certificate: %q", why)
	}
	before, after := secretsOf(t, first), secretsOf(t, third)
	for key, value := range before {
		if changed, want := after[key] != value, key == "Secret fleet-nats-tls tls.crt" || key == "Secret fleet-nats-tls tls.key"; changed != want {
			t.Errorf("%s changed: %v", key, changed)
		}
	}
	own := "apiVersion: v1\nkind: Secret\nmetadata: {name: registry, namespace: fleet-system}\ndata: {a: Yg==}\n---\n"
	with, _ := complete(t, manifest(), append([]byte(own), first...))
	if secretsOf(t, with)["Secret registry a"] != "Yg==" {
		t.Error("an object of the file's owner is gone")
	}
}

func TestWhatIsNoManifestIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"another namespace": {"apiVersion: v1\nkind: Secret\nmetadata: {name: fleet-ca, namespace: other}\n", `of namespace "other"`},
		"no object":         {"a: b\n", "without a kind"},
		"no YAML":           {"\t{", "no YAML"},
		"a torn authority":  {"apiVersion: v1\nkind: Secret\nmetadata: {name: fleet-ca, namespace: fleet-system}\ndata: {tls.crt: YQ==}\n", "put the right one back"},
	} {
		_, _, err := manifest().Complete([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tt.want)
		}
	}
}

// What a person wrote into the file, and how, stays.
func TestAFileOfAPersonIsFilledInPlace(t *testing.T) {
	t.Parallel()
	present := []byte(`apiVersion: v1
kind: Secret
metadata:
  name: fleet-operator-nats
  namespace: fleet-system
  labels: {team: edge}
  annotations: {note: rotated}
stringData: {user: somebody, password: from-a-vault}
`)
	text, _ := complete(t, manifest(), present)
	for _, want := range []string{"team: edge", "note: rotated"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is gone", want)
		}
	}
	password := base64.StdEncoding.EncodeToString([]byte("from-a-vault"))
	if got := secretsOf(t, text)["Secret fleet-operator-nats password"]; got != password {
		t.Errorf("the password is %q, want %q", got, password)
	}
	if again, _ := complete(t, manifest(), text); !bytes.Equal(again, text) {
		t.Error("a second run changes the file")
	}
}
