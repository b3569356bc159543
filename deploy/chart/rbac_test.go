package chart_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator"
)

const patience = time.Minute

// eventually polls until the condition says nothing against it.
func eventually(t *testing.T, what string, against func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		why := against()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %s still: %s", what, patience, why)
		}
		time.Sleep(20 * time.Millisecond) // poll
	}
}

// right is one verb on one resource, as "patch fleet.nationtech.io/devices/status", with the
// name of the object where a rule limits it.
type right string

// recorder notes which rights a client used, and which it was denied.
type recorder struct {
	next http.RoundTripper

	mu     sync.Mutex
	used   map[right]bool
	denied map[right]bool
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.URL.Query().Get("sendInitialEvents") != "" {
		// As servers before Kubernetes 1.32 answer: then the client lists first.
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`
		return &http.Response{
			StatusCode: http.StatusUnprocessableEntity, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: q,
		}, nil
	}
	verb, resource, name := describe(q)
	answer, err := r.next.RoundTrip(q)
	if err != nil {
		return answer, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	note := func(verb string) {
		all := r.used
		if answer.StatusCode == http.StatusForbidden {
			all = r.denied
		}
		all[right(verb+" "+resource)] = true
		all[right(verb+" "+resource+" "+name)] = true
	}
	note(verb)
	if verb == "patch" && answer.StatusCode == http.StatusCreated { // for which the API asks for both
		note("create")
	}
	return answer, nil
}

// describe reads a request as the API does.
func describe(q *http.Request) (verb, resource, name string) {
	parts := strings.Split(strings.Trim(q.URL.Path, "/"), "/")
	group := ""
	if parts[0] == "apis" {
		group, parts = parts[1], parts[3:]
	} else {
		parts = parts[2:]
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource = group + "/" + parts[0]
	if len(parts) > 1 {
		name = parts[1]
	}
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	switch q.Method {
	case http.MethodPost:
		verb = "create"
	case http.MethodPut:
		verb = "update"
	case http.MethodPatch:
		verb = "patch"
	case http.MethodDelete:
		verb = "delete"
	case http.MethodGet:
		switch {
		case q.URL.Query().Get("watch") != "":
			verb = "watch"
		case name != "":
			verb = "get"
		default:
			verb = "list"
		}
	}
	return verb, resource, name
}

func (r *recorder) has(all ...right) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, want := range all {
		if !r.used[want] {
			return fmt.Sprintf("not used: %s", want)
		}
	}
	return ""
}

func (r *recorder) refusals() []right {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []right
	for right := range r.denied {
		all = append(all, right)
	}
	slices.Sort(all)
	return all
}

// granted lists each verb of each resource, and each name where a rule has names.
func granted(rules []rbacv1.PolicyRule) []right {
	var all []right
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					r := right(verb + " " + group + "/" + resource)
					if len(rule.ResourceNames) == 0 {
						all = append(all, r)
					}
					for _, name := range rule.ResourceNames {
						all = append(all, r+right(" "+name))
					}
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// site is a Kubernetes API with the chart's roles, a NATS server, and a device that runs what
// it is told.
type site struct {
	t     *testing.T
	admin *rest.Config
	core  kubernetes.Interface
	fleet versioned.Interface
	nc    *nats.Conn
	js    jetstream.JetStream
	rules []rbacv1.PolicyRule
	apply applier
	roles []*unstructured.Unstructured
}

func newSite(t *testing.T) *site {
	t.Helper()
	cluster := localapitest.Private(t)
	s := &site{t: t, admin: cluster.Config, apply: newApplier(t, cluster.Config)}
	var err error
	if s.core, err = kubernetes.NewForConfig(s.admin); err != nil {
		t.Fatal(err)
	}
	if s.fleet, err = versioned.NewForConfig(s.admin); err != nil {
		t.Fatal(err)
	}
	if _, err := s.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names.Namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range render(t, chart.Options{Profile: "production", Values: provider()}) {
		switch o.GetKind() {
		case "ClusterRole":
			s.rules = append(s.rules, typed[rbacv1.ClusterRole](t, o).Rules...)
		case "Role":
			s.rules = append(s.rules, typed[rbacv1.Role](t, o).Rules...)
		case "ServiceAccount", "ClusterRoleBinding", "RoleBinding":
		default:
			continue
		}
		s.apply.apply(t, o)
		s.roles = append(s.roles, o)
	}
	s.nc, s.js = natstest.Start(t).Connect(t)
	return s
}

// operate runs an operator by the token of the chart's ServiceAccount, until stop.
func (s *site) operate() (seen *recorder, stop func()) {
	s.t.Helper()
	token, err := s.core.CoreV1().ServiceAccounts(names.Namespace).CreateToken(s.t.Context(), names.Operator, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	seen = &recorder{used: map[right]bool{}, denied: map[right]bool{}}
	config := &rest.Config{
		Host: s.admin.Host, BearerToken: token.Status.Token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: s.admin.CAFile, CAData: s.admin.CAData},
		WrapTransport: func(next http.RoundTripper) http.RoundTripper {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			if seen.next == nil {
				seen.next = next
			}
			return seen
		},
	}
	op, err := operator.New(operator.Options{
		Conn: s.nc, RestConfig: config, Namespace: names.Namespace, Identity: "op", RetryPeriod: 200 * time.Millisecond,
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, SealEvents: 1, SealInterval: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("operator: %v", err)
		}
	})
	s.t.Cleanup(stop)
	return seen, stop
}

func (s *site) say(subject string, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = s.nc.Publish(subject, b)
	}
	if err != nil && !s.nc.IsClosed() {
		s.t.Error(err)
	}
}

// device reports that it runs whatever it is told.
func (s *site) device(id string) {
	s.t.Helper()
	_, err := s.nc.Subscribe(eventlog.LiveSubject(id, "*"), func(m *nats.Msg) {
		if _, name, _ := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject")); len(m.Data) > 0 {
			s.say(eventlog.StateSubject(id, name), eventlog.DeploymentState{
				DeviceID: id, Deployment: name, Phase: eventlog.PhaseRunning, ScoreHash: eventlog.Hash(bytes.Clone(m.Data)), LastEventAt: time.Now(),
			})
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.say(eventlog.InfoSubject(id), eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}, UpdatedAt: time.Now()})
	s.say(eventlog.PulseSubject(id), eventlog.Heartbeat{DeviceID: id, At: time.Now()})
}

// The operator's whole story under the rights of its ServiceAccount: it is denied nothing,
// and there is no right that it does not use. So a rule, a verb or a name that is taken
// away is a refusal here, and one that is added is one too many.
func TestTheOperatorUsesJustTheRightsOfItsServiceAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	seen, stop := s.operate()
	eventually(t, "the log", func() string {
		if _, err := logstream.Inspect(t.Context(), s.js); err != nil {
			return fmt.Sprintf("%v; denied: %v", err, seen.refusals())
		}
		return ""
	})
	s.device("pi-01")
	devices, budgets, deployments := s.fleet.FleetV1alpha1().Devices(), s.fleet.FleetV1alpha1().DisruptionBudgets(), s.fleet.FleetV1alpha1().Deployments("default")
	one := intstr.FromInt(1)
	lab := metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}}
	if _, err := budgets.Create(t.Context(), &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "lab"}, Spec: v1alpha1.DisruptionBudgetSpec{Selector: lab, MaxUnavailable: &one},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := deployments.Create(t.Context(), &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: lab, Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "main", Image: "app:1"}}}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment runs", func() string {
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != v1alpha1.ReasonAllSucceeded || d.Status.Aggregate.Succeeded != 1 {
			return fmt.Sprintf("%+v; denied: %v", d.Status, seen.refusals())
		}
		return ""
	})

	// What somebody else writes into the statuses is taken away.
	if _, err := deployments.Patch(t.Context(), "web", types.MergePatchType,
		[]byte(`{"status":{"aggregate":{"lastError":{"device":"pi-99","reason":"Invented"}}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	if _, err := devices.Patch(t.Context(), "pi-01", types.MergePatchType,
		[]byte(`{"status":{"labelConflicts":[{"key":"a","reported":"b","manager":"c"}]}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	if _, err := budgets.Patch(t.Context(), "lab", types.MergePatchType,
		[]byte(`{"status":{"tightestGroup":{"rack":"a"}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the statuses are set right", func() string {
		return seen.has("update fleet.nationtech.io/deployments/status", "update fleet.nationtech.io/devices/status", "update fleet.nationtech.io/disruptionbudgets/status")
	})

	// A Device that a person deletes comes back, and an Event says why.
	before, err := devices.Get(t.Context(), "pi-01", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := devices.Delete(t.Context(), "pi-01", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Device is made again", func() string {
		d, err := devices.Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil || d.UID == before.UID {
			return fmt.Sprintf("%v, denied: %v", err, seen.refusals())
		}
		return seen.has("create events.k8s.io/events")
	})

	// A Deployment ends, and a device is taken out of the fleet.
	if err := deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	request, err := eventlog.NewDraft(eventlog.DeviceRequestSubject("alice", "pi-01"), eventlog.RequestMade, time.Now(),
		eventlog.Request{Verb: eventlog.RequestDecommission, Reason: "sold"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := appender.Unfenced(t.Context(), s.js, "test", request); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are gone", func() string {
		_, deployment := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		_, device := devices.Get(t.Context(), "pi-01", metav1.GetOptions{})
		if deployment == nil || device == nil {
			return fmt.Sprintf("denied: %v", seen.refusals())
		}
		return seen.has("get /secrets "+names.SecretSealKey, "create /secrets")
	})
	stop()

	if denied := seen.refusals(); len(denied) > 0 {
		t.Errorf("the operator was denied %q: the chart's roles lack it", denied)
	}
	var used []right
	for _, r := range granted(s.rules) {
		if seen.has(r) == "" {
			used = append(used, r)
		}
	}
	if diff := cmp.Diff(granted(s.rules), used); diff != "" {
		t.Errorf("rights that the operator did not use (-granted +used):\n%s", diff)
	}
}

// Without a right the operator is denied what it needs, and does not lead: the API enforces
// the roles, and so the test above proves something.
func TestWithoutItsRoleTheOperatorDoesNotLead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := s.core.RbacV1().RoleBindings(names.Namespace).Delete(t.Context(), names.Operator, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	seen, stop := s.operate()
	eventually(t, "the operator is denied the Lease", func() string {
		if got := seen.refusals(); !slices.Contains(got, right("get coordination.k8s.io/leases "+names.Operator)) {
			return fmt.Sprint(got)
		}
		return ""
	})
	stop()
	if _, err := logstream.Inspect(t.Context(), s.js); err == nil {
		t.Error("there is a log: the operator led")
	}
}
