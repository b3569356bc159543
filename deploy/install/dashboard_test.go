package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install/cluster"
)

func TestTheWayToTheDashboardIsTold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values chart.Values
		want   *Dashboard
	}{
		"it is not served":                       {chart.Values{"url": "https://fleet.example.com", "clientID": "7"}, nil},
		"without a sign-in, by port-forward":     {chart.Values{"enabled": true}, &Dashboard{"http://localhost:18080", "kubectl -n edge port-forward deployment/fleet-operator 18080"}},
		"with a sign-in, at its address":         {chart.Values{"enabled": true, "url": "https://fleet.example.com", "clientID": "7"}, &Dashboard{URL: "https://fleet.example.com"}},
		"with a sign-in, by port-forward":        {chart.Values{"enabled": true, "url": "http://localhost:9000", "clientID": "7"}, &Dashboard{"http://localhost:9000", "kubectl -n edge port-forward service/fleet-operator 9000:18080"}},
		"with a sign-in, at port 80":             {chart.Values{"enabled": true, "url": "http://localhost", "clientID": "7"}, &Dashboard{"http://localhost", "kubectl -n edge port-forward service/fleet-operator 80:18080"}},
		"open to the network":                    {chart.Values{"enabled": true, "openToTheNetwork": true}, &Dashboard{"http://localhost:18080", "kubectl -n edge port-forward service/fleet-operator 18080"}},
		"open to the network, and by an Ingress": {chart.Values{"enabled": true, "openToTheNetwork": true, "ingress": chart.Values{"enabled": true, "host": "f.example.com"}}, &Dashboard{URL: "https://f.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := chart.Options{Profile: "production", Values: chart.Merge(provider().values(), chart.Values{"operator": chart.Values{"dashboard": tt.values}})}
			if _, err := chart.Render(o); err != nil {
				t.Fatal(err)
			}
			s, err := read(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Operator.Dashboard.way("edge")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			told := ""
			if d := tt.want; d != nil {
				if told = "Persons open its dashboard at " + d.URL; d.Command != "" {
					told += ", while this runs: " + d.Command
				}
			}
			if got := notes(t, o, "edge"); told == "" && strings.Contains(got, "dashboard") || !strings.HasSuffix(got, told+"\n") {
				t.Errorf("the chart's notes do not end as fleetctl install does, with %q:\n%s", told, got)
			}
		})
	}
}

// notes are what helm install says in the end.
func notes(t *testing.T, o chart.Options, namespace string) string {
	t.Helper()
	c, err := loader.LoadDir("../chart/fleet")
	if err != nil {
		t.Fatal(err)
	}
	values, err := chart.Effective(o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "fleet", Namespace: namespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := engine.Render(c, v)
	if err != nil {
		t.Fatal(err)
	}
	return all["fleet/templates/NOTES.txt"]
}

func provider() *Provider {
	return &Provider{
		Issuer: "https://auth.example.com", Project: "1", DeviceOrganization: "2", Organizations: []string{"3"},
		DashboardURL: "https://fleet.example.com", DashboardClient: "7",
	}
}

// A dashboard that is on gets the application that zitadel setup made, unless the values say
// otherwise. Values of a fleet without a dashboard stay those that the release before reads.
func TestADashboardThatIsOnGetsItsApplicationOfTheProvider(t *testing.T) {
	t.Parallel()
	const none = "none"
	of := func(dashboard chart.Values) chart.Values {
		return chart.Values{"operator": chart.Values{"dashboard": dashboard}}
	}
	withoutApplication := provider()
	withoutApplication.DashboardURL, withoutApplication.DashboardClient = "", ""
	for name, tt := range map[string]struct {
		provider          *Provider
		installed, values chart.Values
		url               any
	}{
		"it is off":                        {provider(), nil, nil, none},
		"it is on":                         {provider(), nil, of(chart.Values{"enabled": true}), "https://fleet.example.com"},
		"it was on":                        {provider(), of(chart.Values{"enabled": true}), nil, "https://fleet.example.com"},
		"it has an application of its own": {provider(), nil, of(chart.Values{"enabled": true, "url": "https://other.example.com", "clientID": "8"}), "https://other.example.com"},
		"it is to have no sign-in":         {provider(), nil, of(chart.Values{"enabled": true, "url": "", "clientID": ""}), ""},
		"it is open to the network":        {provider(), nil, of(chart.Values{"enabled": true, "openToTheNetwork": true}), none},
		"the provider has no application":  {withoutApplication, nil, of(chart.Values{"enabled": true}), none},
		"no provider is given":             {nil, nil, of(chart.Values{"enabled": true}), none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var before *Record
			if tt.installed != nil {
				before = &Record{State: Installed, Version: "v0.2.0", Values: tt.installed}
			}
			r, err := settled(t, before, Options{Version: "v0.2.0", Provider: tt.provider, Values: tt.values})
			if err != nil {
				t.Fatal(err)
			}
			operator, _ := r.Values["operator"].(chart.Values)
			dashboard, _ := operator["dashboard"].(chart.Values)
			got, there := dashboard["url"]
			if !there {
				got = none
			}
			if got != tt.url {
				t.Errorf("the url is %v, and the values are %v", got, r.Values)
			}
		})
	}
}

// The Secret of a confidential client is looked for before anything is changed, and the pods
// that read it are others once it is another.
func TestPreflightLooksForTheSecretOfTheDashboardsApplication(t *testing.T) {
	t.Parallel()
	here := newIssuing(t, localapitest.Shared(t))
	client, err := kubernetes.NewForConfig(here.Config)
	if err != nil {
		t.Fatal(err)
	}
	secrets := client.CoreV1().Secrets(here.namespace)
	put := func(name, key, value string) {
		t.Helper()
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{key: []byte(value)}}
		if _, err := secrets.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("right", "client-secret", "geheim")
	put("misnamed", "secret", "geheim")
	with := func(secret string) *run {
		t.Helper()
		values := chart.Merge(provider().values(), chart.Values{"operator": chart.Values{"dashboard": chart.Values{
			"enabled": true, "url": "https://fleet.example.com", "clientID": "7", "clientSecret": chart.Values{"name": secret},
		}}})
		return here.begun(t, values)
	}
	for name, tt := range map[string]struct{ secret, says string }{
		"none is named":    {"", ""},
		"it is there":      {"right", ""},
		"it is not there":  {"absent", "Secret absent is not there"},
		"it lacks the key": {"misnamed", "Secret misnamed has no key client-secret"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := with(tt.secret).clientSecret(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tt.says == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Level != cluster.Refuse || !strings.Contains(found[0].Sentence, tt.says) || !strings.Contains(found[0].Remedy, "create secret generic "+tt.secret) {
				t.Errorf("found %+v", found)
			}
		})
	}

	digest := func(secret string) string {
		t.Helper()
		all, err := with(secret).signInDigest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[providerAnnotation]
	}
	before := digest("right")
	if before == "" || before != digest("right") || digest("") != "" {
		t.Errorf("the pods' annotation is %q, then %q, and %q without a secret", before, digest("right"), digest(""))
	}
	if _, err := secrets.Patch(t.Context(), "right", types.MergePatchType, []byte(`{"stringData":{"client-secret":"another"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if digest("right") == before {
		t.Error("another secret does not replace the pods")
	}
}
