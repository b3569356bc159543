package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/cluster"
)

// Provider is the fleet's identity provider, as the callout must know it.
type Provider struct {
	Issuer             string
	Project            string
	DeviceOrganization string
	Organizations      []string // that may grant roles to persons and services
	Key                []byte   // key file of an API application, by which the callout asks about opaque tokens; empty: none
	CA                 []byte   // PEM of the authority that signed the provider's certificate; empty: a public one
	DashboardURL       string   // by which persons open the web dashboard; empty: it has no application there
	DashboardClient    string   // client id of the dashboard's application
}

// values is what the chart is told of the provider.
func (p *Provider) values() chart.Values {
	if p == nil {
		return nil
	}
	organizations := make([]any, len(p.Organizations))
	for i, o := range p.Organizations {
		organizations[i] = o
	}
	callout := map[string]any{
		"enabled": true, "issuer": p.Issuer, "project": p.Project, "deviceOrganization": p.DeviceOrganization, "organizations": organizations,
	}
	// What is not given this time stays as it is.
	if len(p.Key) > 0 {
		callout["introspection"] = true
	}
	if len(p.CA) > 0 {
		callout["issuerCA"] = true
	}
	return chart.Values{"callout": callout}
}

// objects are what the callout's pods read of the provider.
func (p *Provider) objects(namespace string) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	if p != nil && len(p.Key) > 0 {
		all = append(all, secret(namespace, names.SecretIntrospection, typeOpaque, map[string][]byte{names.KeyIntrospection: p.Key}))
	}
	if p != nil && len(p.CA) > 0 {
		all = append(all, trusted(namespace, names.ConfigMapIssuerCA, p.CA))
	}
	return all
}

// provided says whether the callout will find its provider: what it reads of it is
// there or given, and the provider says of itself that it is that issuer.
func (r *run) provided(ctx context.Context) ([]cluster.Finding, error) {
	s := r.settings
	if !s.Callout.Enabled {
		return nil, nil
	}
	const give = "Give it: --provider DIRECTORY, which fleetctl zitadel setup wrote, and --provider-ca-file FILE where the provider has a certificate authority of its own."
	var findings []cluster.Finding
	var ca []byte
	for _, need := range []struct {
		wanted bool
		ref    Ref
		given  []byte
		what   string
	}{
		{s.Callout.Introspection, Ref{"v1", "Secret", r.Namespace, names.SecretIntrospection}, r.given().Key, "key of the provider's API application"},
		{s.Callout.IssuerCA, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapIssuerCA}, r.given().CA, "provider's certificate authority"},
	} {
		if !need.wanted {
			continue
		}
		content := need.given
		if len(content) == 0 {
			there, err := r.applier.Get(ctx, need.ref.Object())
			if err != nil {
				return nil, err
			}
			if there == nil {
				findings = append(findings, cluster.Finding{
					Level: cluster.Refuse, Sentence: fmt.Sprintf("The callout needs the %s, and %s %s is not there.", need.what, need.ref.Kind, need.ref.Name), Remedy: give,
				})
				continue
			}
			if text, found, err := unstructured.NestedString(there.Object, "data", names.KeyCA); err == nil && found {
				content = []byte(text)
			}
		}
		if need.ref.Kind == "ConfigMap" {
			ca = content
		}
	}
	issuer, err := discover(ctx, s.Callout.Issuer, ca)
	switch {
	case err != nil:
		findings = append(findings, cluster.Finding{
			Level:    cluster.Warn,
			Sentence: fmt.Sprintf("The identity provider at %s does not answer here: %v. No device and no person gets in while the callout cannot read its keys.", s.Callout.Issuer, err),
			Remedy:   "Check callout.issuer, and that the pods reach it.",
		})
	case issuer != s.Callout.Issuer:
		findings = append(findings, cluster.Finding{
			Level:    cluster.Refuse,
			Sentence: fmt.Sprintf("The identity provider says that its issuer is %q, and callout.issuer is %q. Each token would be refused.", issuer, s.Callout.Issuer),
			Remedy:   "--set callout.issuer=" + issuer + ", or correct the provider's external domain.",
		})
	}
	return findings, nil
}

// providerDigest changes where what the callout's pods read of the provider does.
func (r *run) providerDigest(ctx context.Context) (map[string]string, error) {
	if c := r.settings.Callout; !c.Enabled || !c.Introspection && !c.IssuerCA {
		return nil, nil
	}
	return r.digestOf(ctx, Ref{"v1", "Secret", r.Namespace, names.SecretIntrospection}, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapIssuerCA})
}

func (r *run) given() Provider {
	if r.Provider == nil {
		return Provider{}
	}
	return *r.Provider
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	discoverLimit = 1 << 20 // bytes of an answer
)

// discover asks a provider who it says that it is (OpenID Connect Discovery 1.0,
// section 4).
func discover(ctx context.Context, issuer string, ca []byte) (string, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if len(ca) > 0 && !roots.AppendCertsFromPEM(ca) {
		return "", errors.New("its certificate authority is no PEM")
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(issuer, "/")+discoveryPath, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it answered %s", answer.Status)
	}
	var found struct {
		Issuer string `json:"issuer"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, discoverLimit)).Decode(&found); err != nil {
		return "", fmt.Errorf("its answer is no discovery document: %w", err)
	}
	return found.Issuer, nil
}
