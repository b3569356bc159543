package fleetctl_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
)

// shownCondition is a condition as a page and get have it.
type shownCondition struct{ Type, Status, Reason, Message string }

func shownConditions(all []metav1.Condition) []shownCondition {
	out := []shownCondition{}
	for _, c := range all {
		out = append(out, shownCondition{c.Type, string(c.Status), c.Reason, c.Message})
	}
	return out
}

// shownDeployment and shownDevice are what both a page and get say of one.
type shownDeployment struct {
	Ready, Reason, Message              string
	Revision                            int64
	Matched, Succeeded, Failed, Pending int32
	Phase, RolloutReason                string
	Batch, Batches                      int32
	Conditions                          []shownCondition
}

type shownDevice struct {
	Agent, Arch, OS          string
	Running, Failed, Pending int32
	Labels                   map[string]string
	Conditions               []shownCondition
	On                       map[string]string
}

// thePagesAreWhatGetSays holds the dashboard's pages at 50 moments, on both axes of time,
// against what get prints of the same.
func (r *recording) thePagesAreWhatGetSays(last int) {
	t := r.t
	seed := rand.Uint64()
	t.Logf("the moments of the pages are those of seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	compared := 0
	for range 50 {
		at := 1 + random.IntN(last)
		for _, axis := range []struct{ flag, query string }{{"--as-happened=false", ""}, {"--as-happened", "&as=happened"}} {
			query := fmt.Sprintf("?at=%d%s", at, axis.query)
			get := func(kind string) string {
				return r.fleetctl("get", kind, "-A", "-o", "json", "--at", strconv.Itoa(at), axis.flag)
			}
			deployments, devices := r.pages(query)
			wantDeployments, wantDevices := gottenRows(t, get("deployments"), get("devices"))
			if diff := cmp.Diff(wantDeployments, deployments); diff != "" {
				t.Errorf("seed %d, %s (-get +the pages):\n%s", seed, query, diff)
			}
			if diff := cmp.Diff(wantDevices, devices); diff != "" {
				t.Errorf("seed %d, %s (-get +the pages):\n%s", seed, query, diff)
			}
			compared += len(deployments) + len(devices)
		}
	}
	if compared < 200 {
		t.Errorf("only %d pages were compared", compared)
	}
}

// gottenRows reads what get printed.
func gottenRows(t *testing.T, deployments, devices string) (map[string]shownDeployment, map[string]shownDevice) {
	t.Helper()
	ds, vs := map[string]shownDeployment{}, map[string]shownDevice{}
	for _, d := range items[v1alpha1.Deployment](t, deployments) {
		s := shownDeployment{Revision: d.Status.Revision, Conditions: shownConditions(d.Status.Conditions)}
		for _, c := range s.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				s.Ready, s.Reason, s.Message = c.Status, c.Reason, c.Message
			}
		}
		if a := d.Status.Aggregate; a != nil {
			s.Matched, s.Succeeded, s.Failed, s.Pending = a.MatchedDeviceCount, a.Succeeded, a.Failed, a.Pending
		}
		if ro := d.Status.Rollout; ro != nil && ro.Phase != "" { // a page shows a rollout once there is one
			s.Phase, s.RolloutReason, s.Batch, s.Batches = string(ro.Phase), ro.Reason, ro.Batch, ro.Batches
		}
		ds[d.Namespace+"/"+d.Name] = s
	}
	for _, d := range items[gottenDevice](t, devices) {
		s := shownDevice{Agent: d.Status.AgentVersion, Labels: d.Labels, Conditions: shownConditions(d.Status.Conditions), On: map[string]string{}}
		if i := d.Spec.Inventory; i != nil {
			s.Arch, s.OS = i.Arch, i.OS
		}
		if n := d.Status.Deployments; n != nil {
			s.Running, s.Failed, s.Pending = n.Running, n.Failed, n.Pending
		}
		for _, o := range d.Status.OnDevice {
			s.On[o.Namespace+"/"+o.Name] = fmt.Sprint(o.Standing, " ", o.Revision, " ", o.Phase, " ", o.ReportedRevision, " ", o.Reason, " ", o.Error)
		}
		vs[d.Name] = s
	}
	return ds, vs
}

// pages reads the dashboard's lists at a moment, and the page of each that is in them.
func (r *recording) pages(query string) (map[string]shownDeployment, map[string]shownDevice) {
	r.t.Helper()
	type rollout struct {
		Phase, Reason  string
		Batch, Batches int32
	}
	type deploymentRow struct {
		Namespace, Name, Ready, Reason, Message string
		Revision                                int64
		Matched, Succeeded, Failed, Pending     int32
		Rollout                                 *rollout
	}
	type deviceRow struct {
		ID, Agent, Arch, OS      string
		Running, Failed, Pending int32
		Labels                   map[string]string
	}
	var lists struct {
		Deployments []deploymentRow
		Devices     []deviceRow
	}
	r.page("deployments"+query+"&size=1000", &lists)
	r.page("devices"+query+"&size=1000", &lists)
	ds, vs := map[string]shownDeployment{}, map[string]shownDevice{}
	for _, row := range lists.Deployments {
		var one struct {
			Deployment deploymentRow
			Conditions []shownCondition
		}
		key := row.Namespace + "/" + row.Name
		r.page("deployments/"+key+query, &one)
		if diff := cmp.Diff(row, one.Deployment); diff != "" {
			r.t.Errorf("%s%s (-the list +its page):\n%s", key, query, diff)
		}
		s := shownDeployment{
			Ready: row.Ready, Reason: row.Reason, Message: row.Message, Revision: row.Revision, Matched: row.Matched, Succeeded: row.Succeeded,
			Failed: row.Failed, Pending: row.Pending, Conditions: one.Conditions,
		}
		if ro := row.Rollout; ro != nil {
			s.Phase, s.RolloutReason, s.Batch, s.Batches = ro.Phase, ro.Reason, ro.Batch, ro.Batches
		}
		ds[key] = s
	}
	for _, row := range lists.Devices {
		var one struct {
			Device      deviceRow
			Conditions  []shownCondition
			Deployments []struct {
				Namespace, Name, Standing, Phase, Reason, Error string
				DesiredRevision                                 uint64 `json:"desired_revision"`
				ReportedRevision                                uint64 `json:"reported_revision"`
			}
		}
		r.page("devices/"+row.ID+query, &one)
		if diff := cmp.Diff(row, one.Device); diff != "" {
			r.t.Errorf("%s%s (-the list +its page):\n%s", row.ID, query, diff)
		}
		s := shownDevice{
			Agent: row.Agent, Arch: row.Arch, OS: row.OS, Running: row.Running, Failed: row.Failed, Pending: row.Pending, Labels: row.Labels,
			Conditions: one.Conditions, On: map[string]string{},
		}
		for _, o := range one.Deployments {
			s.On[o.Namespace+"/"+o.Name] = fmt.Sprint(o.Standing, " ", o.DesiredRevision, " ", o.Phase, " ", o.ReportedRevision, " ", o.Reason, " ", o.Error)
		}
		vs[row.ID] = s
	}
	r.written(query, slices.Sorted(maps.Keys(ds)), slices.Sorted(maps.Keys(vs)))
	return ds, vs
}

// written looks whether the pages of the lists name all that is in them.
func (r *recording) written(query string, deployments, devices []string) {
	r.t.Helper()
	for path, names := range map[string][]string{"deployments": deployments, "devices": devices} {
		html := r.ask("/" + path + query + "&size=1000")
		for _, name := range names {
			if !strings.Contains(html, ">"+name+"</a>") {
				r.t.Errorf("/%s%s does not list %s", path, query, name)
			}
		}
	}
}

// page reads the JSON of a page.
func (r *recording) page(path string, into any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.ask("/api/v1/"+path)), into); err != nil {
		r.t.Fatal(err)
	}
}

// ask asks the dashboard. It waits where a moment is not folded in time.
func (r *recording) ask(path string) (body string) {
	r.t.Helper()
	eventually(r.t, path+" is answered", func() string {
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.dashboard(r.t.Context()).String()+path, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if body = string(b); err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Sprint(answer.Status, err, body)
		}
		return ""
	})
	return body
}
