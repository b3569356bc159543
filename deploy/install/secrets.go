package install

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
)

const (
	// Annotations on pods have them restarted, one after the other, where what they read at
	// their start is another. NATS servers are reloaded where that is enough: reload.go.
	accountsAnnotation    = "fleet.nationtech.io/accounts"
	certificateAnnotation = "fleet.nationtech.io/certificate"
	providerAnnotation    = "fleet.nationtech.io/provider"
	// restartedAnnotation says when the NATS servers were restarted for what they read at
	// their start, whatever it is: no other annotation need differ then.
	restartedAnnotation = "fleet.nationtech.io/restarted"
	// readAnnotation, of the StatefulSet itself, is what the servers said of their files
	// after a restart, where that is not what is computed: servers.restarted.
	readAnnotation = "fleet.nationtech.io/read-at-restart"
)

// credentials makes what is made once, and what follows from it.
func (r *run) credentials(ctx context.Context) error {
	var err error
	if r.secrets, err = r.once(ctx); err != nil {
		return err
	}
	users, err := r.secrets.Users(r.settings.Callout.Enabled)
	if err != nil {
		return err
	}
	text, err := accounts.Render(users, accounts.RenderOptions{})
	if err != nil {
		return err
	}
	derived := []*unstructured.Unstructured{secret(r.Namespace, names.SecretAccounts, typeOpaque, map[string][]byte{names.KeyAccounts: text})}
	annotations := map[string]string{accountsAnnotation: digest(text)}
	if r.settings.ownCertificate() {
		objects, certificate, err := r.certificate(ctx)
		if err != nil {
			return err
		}
		derived = append(derived, objects...)
		annotations[certificateAnnotation] = digest(certificate)
	}
	derived = append(derived, r.Provider.objects(r.Namespace)...)
	if err := r.put(ctx, "credentials", derived...); err != nil {
		return err
	}
	provider, err := r.providerDigest(ctx)
	if err != nil {
		return err
	}
	if err := r.annotate(Callout, provider); err != nil {
		return err
	}
	signIn, err := r.signInDigest(ctx)
	if err != nil {
		return err
	}
	if err := r.annotate(Operator, signIn); err != nil {
		return err
	}
	return r.annotate(NATS, annotations)
}

// wanted lists the Secrets that are made once, sorted.
func (r *run) wanted() []string {
	all := credentials.Names()
	if r.settings.ownCertificate() {
		all = append(all, credentials.SecretAuthority)
	}
	slices.Sort(all)
	return all
}

// lost says which Secrets were made once and are not there any more. Others in their
// place would lock the devices out, or break the log's seals.
func (r *run) lost(ctx context.Context) ([]cluster.Finding, error) {
	if r.before == nil {
		return nil, nil
	}
	var findings []cluster.Finding
	for _, name := range r.before.Secrets {
		there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, name}.Object())
		if err != nil {
			return nil, err
		}
		if there == nil {
			findings = append(findings, cluster.Finding{
				Level:    cluster.Refuse,
				Sentence: fmt.Sprintf("Secret %s is gone. It was made once, and another one in its place would not be the fleet's.", name),
				Remedy:   "Put it back from your copy: kubectl create -f fleet-secrets.yaml. Without a copy the fleet must be made from the beginning: fleetctl uninstall --delete-data CLUSTER.",
			})
		}
	}
	return findings, nil
}

// once reads what was made once, makes what is missing, and overwrites nothing.
func (r *run) once(ctx context.Context) (credentials.Secrets, error) {
	there := credentials.Secrets{}
	objects := map[string]*unstructured.Unstructured{}
	for _, name := range credentials.Names() {
		o, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, name}.Object())
		if err != nil {
			return nil, err
		}
		if o == nil {
			continue
		}
		if there[name], err = apply.Data(o); err != nil {
			return nil, err
		}
		objects[name] = o
	}
	filled, err := credentials.Fill(there)
	if err != nil {
		return nil, err
	}
	for _, name := range credentials.Names() {
		switch o := objects[name]; {
		case o == nil:
			made, change, err := r.applier.Create(ctx, secret(r.Namespace, name, typeOpaque, filled[name]))
			if err != nil {
				return nil, err
			}
			// Where another run was faster, what it made holds.
			if filled[name], err = apply.Data(made); err != nil {
				return nil, err
			}
			r.note(made, change)
			r.say("credentials", "%s %s.", apply.Name(made), change)
		case !sameData(there[name], filled[name]):
			apply.SetData(o, filled[name])
			if err := r.applier.Update(ctx, o); err != nil {
				return nil, err
			}
			r.note(o, apply.Changed)
			r.say("credentials", "%s got the keys that it lacked.", apply.Name(o))
		default:
			r.note(o, apply.Unchanged)
		}
	}
	return filled, nil
}

// certificate gives the Secret with the servers' certificate, and the ConfigMap by
// which the fleet's own pods trust it.
func (r *run) certificate(ctx context.Context) (objects []*unstructured.Unstructured, certificate []byte, err error) {
	ca, err := r.authority(ctx)
	if err != nil {
		return nil, nil, err
	}
	there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, names.SecretTLS}.Object())
	if err != nil {
		return nil, nil, err
	}
	var present authority.Pair
	if there != nil {
		values, err := apply.Data(there)
		if err != nil {
			return nil, nil, err
		}
		present = pairOf(values)
	}
	hosts := credentials.Hosts{Namespace: r.Namespace}
	if host := r.settings.Devices.Host; host != "" {
		hosts.Outside = []string{host}
	}
	pair, why, err := credentials.Certificate(ca, present, hosts, r.Now())
	if err != nil {
		return nil, nil, err
	}
	if why != "" {
		r.say("credentials", "The NATS servers get a certificate of the fleet's own authority: %s.", why)
	}
	if !r.remade || !r.DryRun { // a dry run finds cert-manager's own still there
		objects = append(objects, serverSecret(r.Namespace, pair, ca))
	}
	if r.settings.NATS.TLS.ClientsSecret == names.SecretTLS { // else pods trust whom the owner of that Secret says
		trusted, err := r.trust(ctx, "credentials", ca.Pair().Certificate)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, trusted)
	}
	if left := ca.Ends().Sub(r.Now()); left < authorityWarning {
		r.say("credentials", "The fleet's certificate authority ends on %s. Give the devices another one before that: docs/install.md.", ca.Ends().Format(time.DateOnly))
	}
	return objects, pair.Certificate, nil
}

// authorityWarning is how long before its end the authority is spoken of.
const authorityWarning = 2 * 365 * 24 * time.Hour

// authority is the fleet's own certificate authority, made once.
func (r *run) authority(ctx context.Context) (*authority.Authority, error) {
	there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, credentials.SecretAuthority}.Object())
	if err != nil {
		return nil, err
	}
	if there == nil {
		made, err := newAuthority(r.Namespace, r.Now())
		if err != nil {
			return nil, err
		}
		change := apply.Change("")
		there, change, err = r.applier.Create(ctx, authoritySecret(r.Namespace, made))
		if err != nil {
			return nil, err
		}
		r.note(there, change)
		r.say("credentials", "%s %s.", apply.Name(there), change)
	}
	values, err := apply.Data(there)
	if err != nil {
		return nil, err
	}
	return parseAuthority(apply.Name(there), values)
}

// annotate marks the pods of a part with what they read at their start.
func (r *run) annotate(part Part, annotations map[string]string) error {
	for _, s := range r.objects.Workloads {
		if s.Part != part || len(annotations) == 0 {
			continue
		}
		if err := annotateTemplate(s.Object, annotations); err != nil {
			return err
		}
	}
	return nil
}

func annotateTemplate(o *unstructured.Unstructured, annotations map[string]string) error {
	path := []string{"spec", "template", "metadata", "annotations"}
	all, _, err := unstructured.NestedStringMap(o.Object, path...)
	if err != nil {
		return fmt.Errorf("%s: %w", apply.Name(o), err)
	}
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, annotations)
	if err := unstructured.SetNestedStringMap(o.Object, all, path...); err != nil {
		return fmt.Errorf("%s: %w", apply.Name(o), err)
	}
	return nil
}
