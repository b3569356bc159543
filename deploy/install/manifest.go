package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/credentials"
)

// Manifest says which Secrets and ConfigMaps are made without a cluster, for those who
// install by Helm, kustomize or a GitOps tool.
type Manifest struct {
	Namespace string
	Outside   []string // names and addresses by which devices reach the servers
	Callout   bool     // whether the servers ask the auth callout
	Now       time.Time
}

// Complete gives what the pods of the chart need, as YAML: what is in present stays, and
// what it lacks is made. certificate says why the servers' certificate was made; empty:
// the one that was there still fits. Objects of present that are none of ours are kept.
//
// Errors: what cannot be read, with the object's name.
func (m Manifest) Complete(present []byte) (text []byte, certificate string, err error) {
	objects, err := parseManifest(present)
	if err != nil {
		return nil, "", err
	}
	there := credentials.Secrets{}
	for _, o := range objects {
		if o.GetKind() != "Secret" {
			continue
		}
		if ns := o.GetNamespace(); ns != m.Namespace {
			return nil, "", fmt.Errorf("%s is of namespace %q, and not of %s", apply.Name(o), ns, m.Namespace)
		}
		if there[o.GetName()], err = apply.Data(o); err != nil {
			return nil, "", err
		}
	}
	all, err := credentials.Fill(there)
	if err != nil {
		return nil, "", err
	}
	users, err := all.Users(m.Callout)
	if err != nil {
		return nil, "", err
	}
	conf, err := accounts.Render(users, accounts.RenderOptions{})
	if err != nil {
		return nil, "", err
	}
	ca, err := m.authority(there[credentials.SecretAuthority])
	if err != nil {
		return nil, "", err
	}
	pair, certificate, err := credentials.Certificate(ca, pairOf(there[names.SecretTLS]), credentials.Hosts{Namespace: m.Namespace, Outside: m.Outside}, m.Now)
	if err != nil {
		return nil, "", err
	}
	made := []*unstructured.Unstructured{
		authoritySecret(m.Namespace, ca), serverSecret(m.Namespace, pair, ca), trusted(m.Namespace, names.ConfigMapCA, ca.Pair().Certificate),
		secret(m.Namespace, names.SecretAccounts, typeOpaque, map[string][]byte{names.KeyAccounts: conf}),
	}
	for _, name := range credentials.Names() {
		made = append(made, secret(m.Namespace, name, typeOpaque, all[name]))
	}
	for _, o := range objects {
		i := slices.IndexFunc(made, func(ours *unstructured.Unstructured) bool { return RefOf(ours) == RefOf(o) })
		if i < 0 {
			made = append(made, o)
		} else {
			made[i] = filled(o, made[i])
		}
	}
	text, err = chart.YAML(made)
	return text, certificate, err
}

// filled is an object as a person has it, with what it must hold.
func filled(o, must *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	all, _, err := unstructured.NestedMap(o.Object, "data")
	if err != nil || all == nil {
		all = map[string]any{}
	}
	values, _, err := unstructured.NestedMap(must.Object, "data")
	if err != nil {
		return must
	}
	maps.Copy(all, values)
	o.Object["data"] = all
	delete(o.Object, "stringData") // it is in data now
	return o
}

func (m Manifest) authority(there map[string][]byte) (*authority.Authority, error) {
	if there == nil {
		return newAuthority(m.Namespace, m.Now)
	}
	return parseAuthority("secret "+credentials.SecretAuthority, there)
}

// parseManifest reads documents of YAML.
func parseManifest(text []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("it is no YAML of Kubernetes' objects: %w", err)
		case len(o.Object) == 0:
			continue
		case o.GetKind() == "" || o.GetName() == "":
			return nil, errors.New("it has an object without a kind or a name")
		}
		all = append(all, o)
	}
}
