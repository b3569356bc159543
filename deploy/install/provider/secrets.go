package provider

import (
	"bytes"
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/install/apply"
)

// masterkeyBytes is what Zitadel demands.
const masterkeyBytes = 32

// foreignPassword begins a configuration that was made for a provider that was there
// already: its first person has another password.
const foreignPassword = "# The Secret was lost, and made anew. This password is not the provider's.\n"

// secrets makes what is made once, and overwrites nothing.
func (r *run) secrets(ctx context.Context) error {
	masterkey := (accounts.NewPassword() + accounts.NewPassword())[:masterkeyBytes]
	// The provider's rules for passwords want a letter of each case, a digit and a sign.
	config, err := yaml.Marshal(map[string]any{"FirstInstance": map[string]any{"Org": map[string]any{"Human": map[string]any{"Password": accounts.NewPassword() + "aA1!"}}}})
	if err != nil {
		return err
	}
	if r.before != nil && r.before.Installed {
		config = append([]byte(foreignPassword), config...)
	}
	for _, s := range []*unstructured.Unstructured{
		secret(r.Namespace, MasterkeySecret, map[string][]byte{masterkeyKey: []byte(masterkey)}),
		secret(r.Namespace, ConfigSecret, map[string][]byte{configKey: config}),
	} {
		made, change, err := r.applier.Create(ctx, s)
		if err != nil {
			return err
		}
		if change == apply.Created {
			r.result.Changed++
			r.say("credentials", "%s was made. Keep a copy of it outside of the cluster.", apply.Name(made))
		}
	}
	return nil
}

// password finds out whether the first person signs in by the password in the Secret.
// It does where the setup made the instance, by the Secret that is there still.
func (r *run) password(ctx context.Context) error {
	values, err := r.read(ctx, ConfigSecret)
	r.result.FirstPassword = r.record.SetupKey != "" && len(values[configKey]) > 0 && !bytes.HasPrefix(values[configKey], []byte(foreignPassword))
	return err
}

func secret(namespace, name string, values map[string][]byte) *unstructured.Unstructured {
	o := object("v1", "Secret", namespace, name)
	o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": apply.FieldManager})
	o.Object["type"] = "Opaque"
	apply.SetData(o, values)
	return o
}

// read gives what a Secret holds; nil where it is not there.
func (r *run) read(ctx context.Context, name string) (map[string][]byte, error) {
	o, err := r.applier.Get(ctx, object("v1", "Secret", r.Namespace, name))
	if err != nil || o == nil {
		return nil, err
	}
	return apply.Data(o)
}
