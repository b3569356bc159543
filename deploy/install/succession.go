package install

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
	"fleet.nationtech.io/deploy/install/credentials"
)

// succession says where the servers' certificate will be of another authority than the
// one that devices were given.
func (r *run) succession(ctx context.Context) ([]cluster.Finding, error) {
	former, err := r.authorities(ctx)
	if err != nil || len(former) == 0 {
		return nil, err
	}
	next, kept, err := r.nextAuthority(ctx)
	if err != nil || kept || includes(former, next) {
		return nil, err
	}
	return []cluster.Finding{{
		Level:    cluster.Warn,
		Sentence: "The NATS servers' certificate will be of another authority than that in ConfigMap " + names.ConfigMapCA + ". Devices that trust the former one alone do not come back.",
		Remedy:   "First give the devices a file with both authorities: fleetctl enroll again with --ca-file (docs/install.md).",
	}}, nil
}

// authorities are those that the fleet's own pods trust, as PEM; nil: none yet.
func (r *run) authorities(ctx context.Context) ([]byte, error) {
	there, err := r.applier.Get(ctx, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapCA}.Object())
	if err != nil || there == nil {
		return nil, err
	}
	text, _, err := unstructured.NestedString(there.Object, "data", names.KeyCA)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", apply.Name(there), err)
	}
	return []byte(text), nil
}

// nextAuthority is the one that signs the servers' certificate from now on, as PEM; nil:
// one that is not there yet. kept says that a person keeps certificate and authority.
func (r *run) nextAuthority(ctx context.Context) (next []byte, kept bool, err error) {
	name, key := r.settings.NATS.TLS.ClientsSecret, names.KeyCA
	switch {
	case r.settings.issued():
		same, err := r.sameIssuer()
		if err != nil || !same {
			return nil, false, err
		}
	case r.settings.ownCertificate() && name == names.SecretTLS:
		name, key = credentials.SecretAuthority, names.KeyCert
	default:
		return nil, true, nil
	}
	there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, name}.Object())
	if err != nil || there == nil {
		return nil, false, err
	}
	values, err := apply.Data(there)
	return values[key], false, err
}

// sameIssuer says whether the issuer is the one of before.
func (r *run) sameIssuer() (bool, error) {
	if r.before == nil {
		return false, nil
	}
	o := r.chartOptions()
	o.Profile, o.Values = r.before.Profile, r.before.Values
	before, err := read(o)
	is, was := r.settings.NATS.TLS.CertManager, before.NATS.TLS.CertManager
	return err == nil && is.Issuer == was.Issuer && is.Kind == was.Kind, err
}

// trust is what the fleet's own pods trust from now on.
func (r *run) trust(ctx context.Context, step string, authority []byte) (*unstructured.Unstructured, error) {
	former, err := r.authorities(ctx)
	if err != nil {
		return nil, err
	}
	if len(former) > 0 && !includes(former, authority) {
		r.say(step, "ConfigMap %s gets another authority. Devices that trust the former one alone do not come back: docs/install.md.", names.ConfigMapCA)
	}
	return trusted(r.Namespace, names.ConfigMapCA, authority), nil
}

// includes says whether all certificates of one file are in another.
func includes(all, some []byte) bool {
	those := certificates(some)
	for _, one := range those {
		found := false
		for _, other := range certificates(all) {
			found = found || bytes.Equal(one, other)
		}
		if !found {
			return false
		}
	}
	return len(those) > 0
}

// certificates are those of a PEM file, in DER.
func certificates(text []byte) (all [][]byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		all = append(all, block.Bytes)
	}
}

// certificateNameAnnotation is cert-manager's, of a Secret that it keeps.
const certificateNameAnnotation = "cert-manager.io/certificate-name"

// returns says whether cert-manager kept the servers' certificate, and does not any more.
func (r *run) returns() bool {
	return !r.settings.issued() && r.before != nil && usedIssuer(*r.before)
}

// released takes the servers' certificate from cert-manager, which would go on to write
// it. The fleet's own authority then makes the Secret again: the fields of the one that is
// there are cert-manager's.
func (r *run) released(ctx context.Context) error {
	if !r.returns() {
		return nil
	}
	if err := r.take(ctx, Ref{certManagerVersion, "Certificate", r.Namespace, names.NATS}); err != nil || !r.settings.ownCertificate() {
		return err
	}
	ref := Ref{"v1", "Secret", r.Namespace, names.SecretTLS}
	there, err := r.applier.Get(ctx, ref.Object())
	if err != nil || there == nil || there.GetAnnotations()[certificateNameAnnotation] == "" {
		return err
	}
	r.remade = true
	return r.take(ctx, ref)
}

func (r *run) take(ctx context.Context, ref Ref) error {
	change, err := r.applier.Delete(ctx, ref.Object())
	if err != nil {
		return err
	}
	r.note(ref.Object(), change)
	if change == apply.Deleted {
		r.say("credentials", "%s was cert-manager's, and was deleted.", apply.Name(ref.Object()))
	}
	return nil
}
