//go:build e2ecluster

package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/install/tunnel"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// dashboardURL is where persons open the dashboard. The tests play the Ingress that is there.
const dashboardURL = "https://fleet.example.org"

// byPortForward turns the dashboard of an installed fleet on, reads it as kubectl port-forward
// does, and turns it off again.
func byPortForward(t *testing.T, node *clustertest.Node) {
	runFleetctl(t, node, "install", "--set", "operator.dashboard.enabled=true,operator.dashboard.url="+dashboardURL).wants(t, 1,
		"operator.dashboard.clientID is missing", "fleetctl zitadel setup --dashboard-url")
	runFleetctl(t, node, "install", "--set", "operator.dashboard.enabled=true").wants(t, 0,
		"Persons open its dashboard at http://localhost:18080, while this runs: kubectl -n fleet-system port-forward deployment/fleet-operator 18080")
	f := &fleet{t: t, node: node, namespace: names.Namespace}
	f.settled()
	for _, pod := range f.replicas() {
		way, err := tunnel.Open(t.Context(), node.Config, names.Namespace, pod, names.PortDashboard)
		f.must(err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", way.Port), nil)
		f.must(err)
		answer, err := http.DefaultClient.Do(r)
		f.must(err)
		body, err := io.ReadAll(answer.Body)
		f.must(errors.Join(err, answer.Body.Close()))
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "<h1") {
			t.Errorf("the dashboard of %s: %s\n%s", pod, answer.Status, body)
		}
		way.Close()
	}
	runFleetctl(t, node, "install", "--set", "operator.dashboard.enabled=false").wants(t, 0, "is installed")
}

// replicas are the operators' pods, by name.
func (f *fleet) replicas() (all []string) {
	f.t.Helper()
	for _, pod := range f.pods() {
		if pod.Labels["app.kubernetes.io/component"] == "operator" {
			all = append(all, pod.Name)
		}
	}
	return all
}

// people gives persons who have a role of the fleet's project, and somebody who has none.
func people(t *testing.T, p *devprovider.Provider, keys string) {
	t.Helper()
	saved, _, err := setup.Load(keys)
	if err != nil {
		t.Fatal(err)
	}
	for id, role := range map[string]string{"olga": "operator", "victor": "viewer", "nobody": ""} {
		_, err := p.AddUser(devprovider.User{ID: id, Name: strings.ToUpper(id[:1]) + id[1:], Organization: saved.PeopleOrganization})
		if err == nil && role != "" {
			err = p.GrantRole(id, devprovider.Role{Project: saved.Project, Key: role, Organization: saved.PeopleOrganization})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// visitor is a person's browser before an Ingress that sends each request to the next replica.
type visitor struct {
	f      *fleet
	client *http.Client
	ways   []*tunnel.Tunnel // to the replicas
	served map[int]int      // requests, by the number of the replica
	next   int
}

// visitor opens a browser, which trusts the provider's authority.
func (f *fleet) visitor(caFile string) *visitor {
	f.t.Helper()
	text, err := os.ReadFile(caFile)
	f.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	jar, err := cookiejar.New(nil)
	f.must(err)
	v := &visitor{f: f}
	v.meetReplicas()
	provider := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	v.client = &http.Client{Jar: jar, Timeout: clustertest.Timeout, Transport: &http.Transport{
		DisableKeepAlives: true, // so that each request comes to the next replica
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if "https://"+address != dashboardURL+":443" {
				return provider.DialContext(ctx, network, address)
			}
			v.next = (v.next + 1) % len(v.ways) // the Ingress ends TLS, and the pods speak HTTP
			v.served[v.next]++
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(v.ways[v.next].Port))))
		},
	}}
	f.t.Cleanup(v.leave)
	return v
}

// meetReplicas has the Ingress know the replicas that there are now, which the Service must
// know too.
func (v *visitor) meetReplicas() {
	v.f.t.Helper()
	v.leave()
	v.served = map[int]int{}
	replicas := v.f.replicas()
	for _, pod := range replicas {
		way, err := tunnel.Open(v.f.t.Context(), v.f.node.Config, v.f.namespace, pod, names.PortDashboard)
		v.f.must(err)
		v.ways = append(v.ways, way)
	}
	eventually(v.f.t, "the Service leads to the dashboard of each replica", func(ctx context.Context) error {
		found, err := v.f.node.Client.DiscoveryV1().EndpointSlices(v.f.namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + names.Operator})
		if err != nil {
			return err
		}
		ready := map[string]bool{}
		for _, s := range found.Items {
			for _, p := range s.Ports {
				for _, e := range s.Endpoints {
					if *p.Name == "dashboard" && *p.Port == names.PortDashboard && *e.Conditions.Ready {
						ready[e.TargetRef.Name] = true
					}
				}
			}
		}
		if got := slices.Sorted(maps.Keys(ready)); !slices.Equal(got, replicas) {
			return fmt.Errorf("it leads to %q, and there are %q", got, replicas)
		}
		return nil
	})
}

func (v *visitor) leave() {
	for _, way := range v.ways {
		way.Close()
	}
	v.ways = nil
}

// sight is what a browser shows in the end.
type sight struct {
	code    int
	address *url.URL
	body    string
}

func (v *visitor) do(method, address string, form url.Values) sight {
	v.f.t.Helper()
	r, err := http.NewRequestWithContext(v.f.t.Context(), method, address, strings.NewReader(form.Encode()))
	v.f.must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	answer, err := v.client.Do(r)
	v.f.must(err)
	body, err := io.ReadAll(answer.Body)
	v.f.must(errors.Join(err, answer.Body.Close()))
	if _, to, goesOn := strings.Cut(answer.Header.Get("Refresh"), "url="); goesOn { // by itself, as to the provider
		next, err := answer.Request.URL.Parse(to)
		v.f.must(err)
		return v.do(http.MethodGet, next.String(), nil)
	}
	return sight{answer.StatusCode, answer.Request.URL, string(body)}
}

// open opens a page of the dashboard.
func (v *visitor) open(path string) sight {
	v.f.t.Helper()
	return v.do(http.MethodGet, dashboardURL+path, nil)
}

var attemptField = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn opens a page, chooses a person at the provider, and gives what is shown then.
func (v *visitor) signIn(path, who string) sight {
	v.f.t.Helper()
	asked := v.open(path)
	id := attemptField.FindStringSubmatch(asked.body)
	if id == nil {
		v.f.t.Fatalf("this is not the provider's page: %d at %s\n%s", asked.code, asked.address, asked.body)
	}
	return v.do(http.MethodPost, asked.address.String(), url.Values{"id": {id[1]}, "user": {who}})
}

// signedIn has a person sign in, by the one replica and the other, who must be shown a page then.
func (v *visitor) signedIn(who string) {
	v.f.t.Helper()
	got := v.signIn("/devices?state=offline", who)
	if got.code != http.StatusOK || got.address.String() != dashboardURL+"/devices?state=offline" {
		v.f.t.Fatalf("%s signed in, and sees: %d at %s\n%s", who, got.code, got.address, got.body)
	}
	v.staysSignedIn(who)
}

// staysSignedIn has a person read the overview on each replica, without another sign-in. A
// login to NATS servers that have just begun may be refused at first.
func (v *visitor) staysSignedIn(who string) {
	v.f.t.Helper()
	for replica := range v.ways {
		eventually(v.f.t, "a replica shows the overview to "+who, func(context.Context) error {
			v.next = replica - 1
			got := v.open("/")
			if got.address.String() != dashboardURL+"/" {
				v.f.t.Fatalf("%s is sent to %s", who, got.address)
			}
			if got.code != http.StatusOK || !strings.Contains(got.body, strings.ToUpper(who[:1])+who[1:]) {
				return fmt.Errorf("%d\n%s", got.code, got.body)
			}
			return nil
		})
	}
	if len(v.ways) < 2 || len(v.served) != len(v.ways) {
		v.f.t.Errorf("replicas and how often they were asked: %v", v.served)
	}
}

// underWay is a rollout that goes on by nothing but a person: its first device is looked at for
// an hour.
const underWay = `{"apiVersion": "fleet.nationtech.io/v1alpha1", "kind": "Deployment", "metadata": {"name": "waits", "namespace": "default"}, "spec": {
  "targetSelector": {"matchLabels": {"site": "lab"}}, "rollout": {"batches": [{"size": 1, "soak": "1h"}, {}]},
  "score": {"type": "PodmanV0", "data": {"services": [{"name": "web", "image": "localhost/fleet-hello:1", "ports": ["8080"]}]}}}}`

var formField = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// pauses has an operator pause a rollout from the dashboard, and a viewer be refused.
func (f *fleet) pauses(operator, viewer *visitor, devices []*systemdtest.Device) {
	f.t.Helper()
	const name, page = "waits", "/rollouts/default/waits/pause"
	_, err := f.node.Kubectl(f.t.Context(), []byte(underWay), "apply", "-f", "-")
	f.must(err)
	form := url.Values{}
	eventually(f.t, "the operator is shown how to pause the rollout", func(context.Context) error {
		got := operator.open(page)
		if got.code != http.StatusOK || !strings.Contains(got.body, `<form method="post" class="act">`) {
			return fmt.Errorf("%d: %s", got.code, got.body)
		}
		for _, field := range formField.FindAllStringSubmatch(got.body, -1) {
			form.Set(field[1], field[2])
		}
		return nil
	})
	form.Set("reason", "the canary is looked at")
	for what, got := range map[string]sight{"the page": viewer.open(page), "the form of the operator": viewer.do(http.MethodPost, dashboardURL+page, form)} {
		if got.code != http.StatusForbidden {
			f.t.Errorf("the viewer, who sends %s, is answered: %d\n%s", what, got.code, got.body)
		}
	}
	if got := operator.do(http.MethodPost, dashboardURL+page, form); got.code != http.StatusOK || !strings.HasPrefix(got.address.Path, "/requests/") || !strings.Contains(got.body, "the canary is looked at") {
		f.t.Errorf("the operator, who sends the form, is answered: %d at %s\n%s", got.code, got.address, got.body)
	}
	eventually(f.t, "the operator in the cluster holds the rollout, in the person's name", func(ctx context.Context) error {
		d, err := f.kube.FleetV1alpha1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err == nil && (d.Status.Rollout == nil || !d.Status.Rollout.Held || !strings.Contains(d.Status.Rollout.Message, "person-olga holds the rollout: the canary is looked at")) {
			err = fmt.Errorf("its status is %+v", d.Status.Rollout)
		}
		return err
	})
	f.kubectl("delete", "deployments.fleet.nationtech.io", name)
	eventually(f.t, "no device runs it any more", func(context.Context) error {
		for device, running := range containers(f.t, devices...) {
			if strings.Contains(strings.TrimSpace(running), "\n") {
				return fmt.Errorf("%s runs\n%s", device, running)
			}
		}
		return nil
	})
}

// signsIn has persons sign in to an installed fleet's dashboard. Who has no role of the project
// is not let in.
func (f *fleet) signsIn(caFile string) (operator, viewer *visitor) {
	f.t.Helper()
	if got := f.visitor(caFile).signIn("/", "nobody"); got.code != http.StatusForbidden {
		f.t.Errorf("who has no role is shown: %d at %s\n%s", got.code, got.address, got.body)
	}
	operator, viewer = f.visitor(caFile), f.visitor(caFile)
	operator.signedIn("olga")
	viewer.signedIn("victor")
	return operator, viewer
}
