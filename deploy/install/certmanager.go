package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
)

// certManagerVersion is that of cert-manager's API.
const certManagerVersion = cluster.GroupCertManager + "/v1"

// issuerRef names the issuer of the servers' certificate.
func (r *run) issuerRef() Ref {
	c := r.settings.NATS.TLS.CertManager
	ref := Ref{certManagerVersion, c.Kind, "", c.Issuer}
	if c.Kind == "Issuer" {
		ref.Namespace = r.Namespace
	}
	return ref
}

func (r *run) issuerRight() cluster.Right {
	ref := r.issuerRef()
	resource := "clusterissuers"
	if ref.Namespace != "" {
		resource = "issuers"
	}
	return cluster.Right{Verb: "get", Group: cluster.GroupCertManager, Resource: resource, Namespace: ref.Namespace}
}

// issuer says whether the issuer of the servers' certificate is there, and can sign it.
func (r *run) issuer(ctx context.Context) ([]cluster.Finding, error) {
	say := func(level cluster.Level, remedy, format string, args ...any) ([]cluster.Finding, error) {
		return []cluster.Finding{{Level: level, Sentence: fmt.Sprintf(format, args...), Remedy: remedy}}, nil
	}
	served := r.result.Facts.Has(cluster.GroupCertManager)
	switch {
	case !r.settings.issued() && served && r.settings.ownCertificate():
		return say(cluster.Note, "To have cert-manager make it: --set nats.tls.certManager.issuer=NAME.",
			"The cluster has cert-manager; the NATS servers' certificate is of the fleet's own authority all the same.")
	case !r.settings.issued():
		return nil, nil
	case !served:
		return say(cluster.Refuse, "Install cert-manager, or have the fleet's own authority make the certificate: --set nats.tls.certManager.issuer=\"\".",
			"cert-manager is to make the NATS servers' certificate, and the cluster does not serve %s.", cluster.GroupCertManager)
	}
	ref := r.issuerRef()
	there, err := r.applier.Get(ctx, ref.Object())
	var unserved *apply.Unserved
	if errors.As(err, &unserved) {
		return say(cluster.Refuse, "Upgrade cert-manager to version 1.", "The cluster does not serve %s of %s.", ref.Kind, certManagerVersion)
	}
	if err != nil {
		return nil, err
	}
	if there == nil {
		return say(cluster.Refuse, "Make it, or name another one: --set nats.tls.certManager.issuer=NAME,nats.tls.certManager.kind=ClusterIssuer or Issuer.",
			"There is no %s, which is to sign the NATS servers' certificate.", apply.Name(ref.Object()))
	}
	const internal = "Name an issuer with an authority of its own, such as one of type CA or Vault."
	if _, acme, err := unstructured.NestedFieldNoCopy(there.Object, "spec", "acme"); err == nil && acme {
		return say(cluster.Refuse, internal, "%s asks a public authority (ACME), which signs no names inside of a cluster: the NATS servers need those.", apply.Name(there))
	}
	if _, self, err := unstructured.NestedFieldNoCopy(there.Object, "spec", "selfSigned"); err == nil && self {
		return say(cluster.Refuse, internal, "%s signs each certificate by itself: devices would have to trust another one after each renewal.", apply.Name(there))
	}
	var all []cluster.Finding
	if ready := conditionOf(there, "Ready"); ready.status == "False" {
		all = append(all, cluster.Finding{
			Level: cluster.Warn, Sentence: fmt.Sprintf("%s is not ready: %s", apply.Name(there), ready.message), Remedy: "Read: kubectl describe " + ref.Kind + " " + ref.Name + ".",
		})
	}
	return all, nil
}

// usedIssuer says whether an installation had its certificate from cert-manager.
func usedIssuer(b Record) bool {
	return slices.ContainsFunc(b.Objects, func(o Ref) bool { return o.Kind == "Certificate" })
}

// condition is what a controller says of an object.
type condition struct {
	status  string // True, False or Unknown; empty: nothing is said
	message string
	current bool // it is about the object as it is now
}

func conditionOf(o *unstructured.Unstructured, name string) condition {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return condition{}
	}
	for _, one := range conditions {
		c, is := one.(map[string]any)
		if !is || c["type"] != name {
			continue
		}
		var found condition
		found.status, _ = c["status"].(string)
		found.message, _ = c["message"].(string)
		generation, told := c["observedGeneration"].(int64)
		found.current = !told || generation >= o.GetGeneration()
		return found
	}
	return condition{}
}

// certified waits until cert-manager has made the servers' certificate, and has the
// fleet's own pods trust its authority.
func (r *run) certified(ctx context.Context) error {
	if !r.settings.issued() || r.DryRun {
		return nil
	}
	values, err := r.awaitCertificate(ctx)
	if err != nil {
		return err
	}
	if len(values[names.KeyCA]) == 0 {
		return &CheckError{
			"the NATS servers' certificate has no authority beside it", fmt.Errorf("secret %s has no %s", r.settings.NATS.TLS.ClientsSecret, names.KeyCA),
			"Name an issuer with an authority of its own by nats.tls.certManager.issuer, such as one of type CA. The servers trust each other by it.",
		}
	}
	if err := r.tellLife(values[names.KeyCert]); err != nil {
		return err
	}
	trusted, err := r.trust(ctx, "certificate", values[names.KeyCA])
	if err != nil {
		return err
	}
	if err := r.put(ctx, "certificate", trusted); err != nil {
		return err
	}
	return r.annotate(NATS, map[string]string{certificateAnnotation: digest(values[names.KeyCert])})
}

// tellLife says when the installation must be run again: nobody else has the servers
// read a certificate that cert-manager renewed.
func (r *run) tellLife(text []byte) error {
	c := r.settings.NATS.TLS.CertManager
	wished, err := time.ParseDuration(c.Duration)
	if err != nil {
		return fmt.Errorf("value nats.tls.certManager.duration: %w", err)
	}
	before, err := time.ParseDuration(c.RenewBefore)
	if err != nil {
		return fmt.Errorf("value nats.tls.certManager.renewBefore: %w", err)
	}
	certificate, err := leaf(text)
	if err != nil {
		return fmt.Errorf("secret %s, key %s: %w", r.settings.NATS.TLS.ClientsSecret, names.KeyCert, err)
	}
	r.say("certificate", "%s", life(certificate, wished, before))
	return nil
}

// life says how long a certificate of cert-manager holds. How long it is wished to hold is
// a wish: an issuer may give shorter ones. cert-manager renews it so long before its end,
// and where that is longer than its life, after two thirds of it
// (https://cert-manager.io/docs/usage/certificate/).
func life(c *x509.Certificate, wished, before time.Duration) string {
	whole := c.NotAfter.Sub(c.NotBefore)
	if before >= whole {
		before = whole / 3
	}
	at := func(t time.Time) string {
		if whole < 30*24*time.Hour {
			return t.UTC().Format("2006-01-02 15:04 MST")
		}
		return t.UTC().Format(time.DateOnly)
	}
	when := fmt.Sprintf("cert-manager renews it on %s, and the servers show the new one once fleetctl install has run: run it between then and %s, when the present one ends.",
		at(c.NotAfter.Add(-before)), at(c.NotAfter))
	if whole < wished/2 {
		hours := func(d time.Duration) string { return fmt.Sprintf("%.0fh", d.Hours()) }
		return fmt.Sprintf("WARNING: the issuer gives the NATS servers a certificate of %s, and one of %s was wished. %s Otherwise no device gets in any more. "+
			"Do so with each certificate, by a timer where they are so short, or have the issuer give longer ones.", hours(whole), hours(wished), when)
	}
	return "The NATS servers' certificate is cert-manager's: " + when
}

// awaitCertificate gives what is in the Secret once cert-manager says that it is what is
// wished now.
func (r *run) awaitCertificate(ctx context.Context) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	certificate := Ref{certManagerVersion, "Certificate", r.Namespace, names.NATS}.Object()
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	for told := ""; ; {
		there, err := r.applier.Get(ctx, certificate)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		said := "cert-manager has not looked at it yet"
		if there != nil {
			ready := conditionOf(there, "Ready")
			if ready.message != "" {
				said = ready.message
			}
			if ready.status == "True" && ready.current {
				secret, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, r.settings.NATS.TLS.ClientsSecret}.Object())
				if err != nil {
					return nil, err
				}
				if secret != nil {
					return apply.Data(secret)
				}
			}
		}
		if said != told {
			r.Tell(Progress{Step: "certificate", Sentence: fmt.Sprintf("%s is not ready: %s", apply.Name(certificate), said), Waiting: true})
			told = said
		}
		select {
		case <-ctx.Done():
			return nil, &CheckError{
				"cert-manager has not made the NATS servers' certificate", errors.New(said),
				"Read: kubectl -n " + r.Namespace + " describe certificate,certificaterequest. Then install again.",
			}
		case <-tick.C:
		}
	}
}
