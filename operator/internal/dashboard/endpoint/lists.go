package endpoint

import (
	"context"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/projections/viewdiff"
)

func overview(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	v.title = "Overview"
	var p model.Present
	if q.At.IsNow() {
		if p.Facts, p.Ahead, err = l.Moments.Present(ctx); err != nil {
			return v, err
		}
	}
	err = l.Moments.At(ctx, q.At, func(f moments.Fleet) {
		m := model.OverviewOf(f.Catalog, f.Now, p)
		v.Model = m
		v.at(m.Moment, f)
	})
	return v, err
}

func deploymentList(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	filter := model.DeploymentFilter{Namespace: q.values.Get("namespace"), Text: q.values.Get("name")}
	if filter.State, err = q.oneOf("state", model.DeploymentStates()); err != nil {
		return v, err
	}
	if filter.Page, filter.Size, err = q.part(); err != nil {
		return v, err
	}
	v.title = "Deployments"
	err = l.Moments.At(ctx, q.At, func(f moments.Fleet) {
		m := model.DeploymentsOf(f.Catalog, f.Now, filter)
		v.Model = m
		v.at(m.Moment, f)
	})
	return v, err
}

func deviceList(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	filter := model.DeviceFilter{Text: q.values.Get("name")}
	if filter.State, err = q.oneOf("state", model.DeviceStates()); err != nil {
		return v, err
	}
	if filter.Page, filter.Size, err = q.part(); err != nil {
		return v, err
	}
	if text := q.values.Get("selector"); text != "" {
		if filter.Selector, err = labels.Parse(text); err != nil {
			return v, respond.Errorf(http.StatusBadRequest, "selector: %q is no selector such as site=lab,zone in (a,b): %v.", text, err)
		}
	}
	if text := q.values.Get("deployment"); text != "" {
		namespace, name, ok := strings.Cut(text, "/")
		if !ok {
			return v, respond.Errorf(http.StatusBadRequest, "deployment: %q is not of the form NAMESPACE/NAME.", text)
		}
		if filter.Deployment, err = keyOf(namespace, name); err != nil {
			return v, err
		}
	}
	v.title = "Devices"
	err = l.Moments.At(ctx, q.At, func(f moments.Fleet) {
		m := model.DevicesOf(f.Catalog, f.Now, filter)
		v.Model = m
		v.at(m.Moment, f)
	})
	return v, err
}

func rollout(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	key, err := PathKey(q.request)
	if err != nil {
		return v, err
	}
	v.title, v.stream = "Rollout of "+key.String(), aboutDeployment(key)
	v.subjects = []string{
		eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.RequestSubject(eventlog.Wildcard, key.Namespace, key.Name),
		eventlog.DesiredSubject(eventlog.Wildcard, key.Name), eventlog.StateSubject(eventlog.Wildcard, key.Name),
	}
	known := false
	err = l.Moments.At(ctx, q.At, func(f moments.Fleet) {
		var m model.Rollout
		m, known = model.RolloutOf(f.Catalog, f.Now, key)
		v.Model = m
		v.at(m.Moment, f)
	})
	if err == nil && !known {
		err = q.unknown("Deployment", key.String())
	}
	return v, err
}

func changes(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	from, err := moment("from", q.values.Get("from"), l.Now())
	if err != nil {
		return v, err
	}
	to, err := moment("to", q.values.Get("to"), l.Now())
	if err != nil {
		return v, err
	}
	filter := model.ChangeFilter{Text: q.values.Get("name")}
	about, err := q.oneOf("about", model.ChangeTopics())
	if err != nil {
		return v, err
	}
	filter.About = viewdiff.Topic(about)
	if filter.Page, filter.Size, err = q.part(); err != nil {
		return v, err
	}
	v.title, v.subjects = "Changes", filter.Subjects()
	is := q.values.Get(page.Axis)
	a := moments.Moment{Moment: from, Happened: is == page.Happened}
	b := moments.Moment{Moment: to, Happened: is == page.Happened || is == page.Both}
	err = l.Moments.Both(ctx, a, b, func(a, b moments.Fleet) {
		x, y := model.MomentOf(a.Catalog, a.Now), model.MomentOf(b.Catalog, b.Now)
		v.Model = model.ChangesOf(a.Catalog.View, b.Catalog.View, x, y, filter)
		v.at(y, b)
	})
	return v, err
}
