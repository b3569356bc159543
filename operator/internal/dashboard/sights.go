package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/projections/fleet"
)

const (
	defaultSize = 100 // rows of a part of a list
	maxSize     = 1000
)

// sight is one page, and its JSON.
type sight struct {
	page       string // as package page calls it
	path, api  string // patterns
	parameters []string
	load       func(context.Context, *Dashboard, question) (shown, error)
}

// sights are the pages that there are.
func sights() []sight {
	return []sight{
		{page.Overview, "/{$}", apiPath + "overview", []string{"at"}, overview},
		{page.Deployments, "/deployments", apiPath + "deployments", []string{"at", "namespace", "name", "state", "page", "size"}, deploymentList},
		{page.Deployment, "/deployments/{namespace}/{name}", apiPath + "deployments/{namespace}/{name}", []string{"at", "compare", "with"}, deployment},
		{page.Rollout, "/rollouts/{namespace}/{name}", apiPath + "rollouts/{namespace}/{name}", []string{"at"}, rollout},
		{page.Devices, "/devices", apiPath + "devices", []string{"at", "name", "selector", "deployment", "state", "page", "size"}, deviceList},
		{page.Device, "/devices/{device}", apiPath + "devices/{device}", []string{"at"}, device},
		{page.Changes, "/changes", apiPath + "changes", []string{"from", "to", "page", "size"}, changes},
	}
}

func overview(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	v.title = "Overview"
	var p model.Present
	if q.at.IsNow() {
		if p.Facts, p.Ahead, err = d.o.Moments.Present(ctx); err != nil {
			return v, err
		}
	}
	err = d.o.Moments.At(ctx, q.at, func(f moments.Fleet) {
		m := model.OverviewOf(f.Catalog, f.Now, p)
		v.model, v.moment, v.logID = m, m.Moment, f.LogID
	})
	return v, err
}

func deploymentList(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	filter := model.DeploymentFilter{Namespace: q.values.Get("namespace"), Text: q.values.Get("name")}
	if filter.State, err = q.oneOf("state", model.DeploymentStates()); err != nil {
		return v, err
	}
	if filter.Page, filter.Size, err = q.part(); err != nil {
		return v, err
	}
	v.title = "Deployments"
	err = d.o.Moments.At(ctx, q.at, func(f moments.Fleet) {
		m := model.DeploymentsOf(f.Catalog, f.Now, filter)
		v.model, v.moment, v.logID = m, m.Moment, f.LogID
	})
	return v, err
}

func deviceList(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	filter := model.DeviceFilter{Text: q.values.Get("name")}
	if filter.State, err = q.oneOf("state", model.DeviceStates()); err != nil {
		return v, err
	}
	if filter.Page, filter.Size, err = q.part(); err != nil {
		return v, err
	}
	if text := q.values.Get("selector"); text != "" {
		if filter.Selector, err = labels.Parse(text); err != nil {
			return v, failure{http.StatusBadRequest, fmt.Sprintf("selector: %q is no selector such as site=lab,zone in (a,b): %v.", text, err)}
		}
	}
	if text := q.values.Get("deployment"); text != "" {
		namespace, name, ok := strings.Cut(text, "/")
		if !ok {
			return v, failure{http.StatusBadRequest, fmt.Sprintf("deployment: %q is not of the form NAMESPACE/NAME.", text)}
		}
		filter.Deployment = fleet.Key{Namespace: namespace, Name: name}
	}
	v.title = "Devices"
	err = d.o.Moments.At(ctx, q.at, func(f moments.Fleet) {
		m := model.DevicesOf(f.Catalog, f.Now, filter)
		v.model, v.moment, v.logID = m, m.Moment, f.LogID
	})
	return v, err
}

func rollout(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	key, err := q.key()
	if err != nil {
		return v, err
	}
	v.title, v.stream = "Rollout of "+key.String(), aboutDeployment(key)
	v.subjects = []string{
		eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.RequestSubject(eventlog.Wildcard, key.Namespace, key.Name),
		eventlog.DesiredSubject(eventlog.Wildcard, key.Name), eventlog.StateSubject(eventlog.Wildcard, key.Name),
	}
	known := false
	err = d.o.Moments.At(ctx, q.at, func(f moments.Fleet) {
		var m model.Rollout
		m, known = model.RolloutOf(f.Catalog, f.Now, key)
		v.model, v.moment, v.logID = m, m.Moment, f.LogID
	})
	if err == nil && !known {
		err = q.unknown("Deployment", key.String())
	}
	return v, err
}

func changes(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	from, err := d.moment("from", q.values.Get("from"))
	if err != nil {
		return v, err
	}
	to, err := d.moment("to", q.values.Get("to"))
	if err != nil {
		return v, err
	}
	number, size, err := q.part()
	if err != nil {
		return v, err
	}
	v.title = "Changes"
	err = d.o.Moments.Both(ctx, from, to, func(a, b moments.Fleet) {
		x, y := model.MomentOf(a.Catalog, a.Now), model.MomentOf(b.Catalog, b.Now)
		v.model = model.ChangesOf(a.Catalog.View, b.Catalog.View, x, y, number, size)
		v.moment, v.logID = y, b.LogID
	})
	return v, err
}

func aboutDeployment(key fleet.Key) string {
	return url.Values{"deployment": {key.Name}}.Encode()
}

// streamPath is where a page hears of what comes after a sequence.
func streamPath(query string, after uint64) string {
	text := eventsapi.Path + "?after=" + strconv.FormatUint(after, 10)
	if query != "" {
		text += "&" + query
	}
	return text
}
