package install

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
)

// dashboardSettings are the chart's values of the web dashboard. The chart refuses half a
// sign-in, so one with a URL has all that it needs.
type dashboardSettings struct {
	Enabled      bool   `json:"enabled"`
	URL          string `json:"url"`
	ClientSecret struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"clientSecret"`
	Open    bool `json:"openToTheNetwork"`
	Ingress struct {
		Enabled   bool   `json:"enabled"`
		ClassName string `json:"className"`
		Host      string `json:"host"`
	} `json:"ingress"`
}

// signsIn says whether persons sign in to the dashboard.
func (d dashboardSettings) signsIn() bool { return d.Enabled && d.URL != "" }

// Dashboard is how persons open the web dashboard.
type Dashboard struct {
	URL string `json:"url"`
	// Command must run meanwhile; empty: none.
	Command string `json:"command,omitempty"`
}

// way is how persons open the dashboard; nil where it is not served.
func (d dashboardSettings) way(namespace string) *Dashboard {
	forward := func(object, port string) string {
		return "kubectl -n " + namespace + " port-forward " + object + " " + port
	}
	const local = "http://localhost:"
	at := fmt.Sprint(names.PortDashboard)
	switch {
	case !d.Enabled:
		return nil
	case d.URL != "":
		u, err := url.Parse(d.URL)
		if err != nil || u.Scheme == "https" {
			return &Dashboard{URL: d.URL}
		}
		port := u.Port() // http is for the loopback alone
		if port == "" {
			port = "80"
		}
		return &Dashboard{d.URL, forward("service/"+names.Operator, port+":"+at)}
	case d.Open && d.Ingress.Enabled:
		return &Dashboard{URL: "https://" + d.Ingress.Host}
	case d.Open:
		return &Dashboard{local + at, forward("service/"+names.Operator, at)}
	}
	return &Dashboard{local + at, forward("deployment/"+names.Operator, at)}
}

// withApplication gives the dashboard its application at the provider, where the dashboard is
// on and the values say nothing of a sign-in.
func (p *Provider) withApplication(values chart.Values) chart.Values {
	if p == nil || p.DashboardURL == "" || p.DashboardClient == "" {
		return values
	}
	operator, _ := values["operator"].(chart.Values)
	dashboard, _ := operator["dashboard"].(chart.Values)
	_, hasURL := dashboard["url"]
	_, hasClient := dashboard["clientID"]
	if on, _ := dashboard["enabled"].(bool); !on || hasURL || hasClient || dashboard["openToTheNetwork"] == true {
		return values
	}
	return chart.Merge(values, chart.Values{"operator": chart.Values{"dashboard": chart.Values{"url": p.DashboardURL, "clientID": p.DashboardClient}}})
}

// clientSecret says whether the secret of the dashboard's application is where the values say.
func (r *run) clientSecret(ctx context.Context) ([]cluster.Finding, error) {
	d := r.settings.Operator.Dashboard
	if !d.signsIn() || d.ClientSecret.Name == "" {
		return nil, nil
	}
	refuse := func(sentence string) []cluster.Finding {
		return []cluster.Finding{{
			Level: cluster.Refuse, Sentence: sentence,
			Remedy: fmt.Sprintf("Make it: kubectl -n %s create secret generic %s --from-file=%s=FILE. An application with PKCE alone has no secret: --set operator.dashboard.clientSecret.name=.",
				r.Namespace, d.ClientSecret.Name, d.ClientSecret.Key),
		}}
	}
	there, err := r.applier.Get(ctx, Ref{"v1", "Secret", r.Namespace, d.ClientSecret.Name}.Object())
	if err != nil {
		return nil, err
	}
	if there == nil {
		return refuse(fmt.Sprintf("The dashboard needs the secret of its application, and Secret %s is not there.", d.ClientSecret.Name)), nil
	}
	values, err := apply.Data(there)
	if err != nil {
		return nil, err
	}
	if len(values[d.ClientSecret.Key]) == 0 {
		return refuse(fmt.Sprintf("The dashboard needs the secret of its application, and Secret %s has no key %s.", d.ClientSecret.Name, d.ClientSecret.Key)), nil
	}
	return nil, nil
}

// signInDigest changes where what the operator's pods read at their start for the sign-in does.
func (r *run) signInDigest(ctx context.Context) (map[string]string, error) {
	d := r.settings.Operator.Dashboard
	if !d.signsIn() {
		return nil, nil
	}
	var refs []Ref
	if r.settings.Callout.IssuerCA {
		refs = append(refs, Ref{"v1", "ConfigMap", r.Namespace, names.ConfigMapIssuerCA})
	}
	if d.ClientSecret.Name != "" {
		refs = append(refs, Ref{"v1", "Secret", r.Namespace, d.ClientSecret.Name})
	}
	return r.digestOf(ctx, refs...)
}

// digestOf is the annotation of pods that read these objects at their start; none for no
// objects.
func (r *run) digestOf(ctx context.Context, refs ...Ref) (map[string]string, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	var read []byte
	for _, ref := range refs {
		there, err := r.applier.Get(ctx, ref.Object())
		if err != nil {
			return nil, err
		}
		if there == nil {
			continue
		}
		text, err := json.Marshal(there.Object["data"])
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
		}
		read = append(read, text...)
	}
	return map[string]string{providerAnnotation: digest(read)}, nil
}
