package action_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

// A person who may only look is told who may, and has nothing in the log by sending a form by hand.
func TestAPersonWhoMayNotAskIsToldWhoMay(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	form := o.Form("ann", "/rollouts/shop/web/pause")
	device := o.Form("ann", "/devices/device-00001/revoke")
	device.Set("confirm", "yes")
	for name, tt := range map[string]struct {
		who, path string
		form      url.Values
		says      string
	}{
		"a viewer": {"vic", "/rollouts/shop/web/pause", form, "An operator of the namespace shop, or of all"},
		"a viewer of whom the dashboard is wrong":  {"liz", "/rollouts/shop/web/pause", form, "An operator of the namespace shop, or of all"},
		"an operator of a namespace, for a device": {"sam", "/devices/device-00001/revoke", device, "An operator of all namespaces"},
		"a viewer, for a device":                   {"vic", "/devices/device-00001/revoke", device, "An operator of all namespaces"},
		"a viewer, for a ping":                     {"vic", "/devices/device-00001/ping", url.Values{"token": form["token"]}, "An operator of all namespaces"},
		"nobody":                                   {"", "/rollouts/shop/web/pause", form, "Nobody is signed in"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := o.Post(tt.who, tt.path, tt.form)
			if answer.StatusCode != http.StatusForbidden || !strings.Contains(body, tt.says) {
				t.Errorf("%s, want 403 that says %q:\n%s", answer.Status, tt.says, body)
			}
			if tt.who == "liz" {
				return // her pages offer what the servers refuse
			}
			if answer, body := o.Get(tt.path, dashboardtest.AsPerson, tt.who); answer.StatusCode != http.StatusForbidden || strings.Contains(body, `<form method="post" class="act"`) {
				t.Errorf("the page of the form: %s, want 403 without a form", answer.Status)
			}
		})
	}
	if got := o.Requests(); len(got) > 0 {
		t.Errorf("the log has %v", got)
	}
	_, body := o.Get("/rollouts/shop/web", dashboardtest.AsPerson, "vic")
	if strings.Contains(body, `href="/rollouts/shop/web/pause"`) || !strings.Contains(body, "An operator of the namespace shop") {
		t.Errorf("the page of a viewer offers actions, or does not say who may:\n%s", body)
	}
	if answer, body := o.Post("sam", "/rollouts/shop/web/pause", o.Form("sam", "/rollouts/shop/web/pause")); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("an operator of the namespace may not pause there: %s\n%s", answer.Status, body)
	}
}

func TestAPageOfThePastOffersNothing(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	end := o.Rollout().Moment.Sequence
	for _, path := range []string{"/rollouts/shop/web", "/deployments/shop/web", "/devices/device-00001"} {
		_, body := o.Get(fmt.Sprintf("%s?at=%d", path, end-1), dashboardtest.AsPerson, "ann")
		if !strings.Contains(body, "This is the past") || strings.Contains(body, "At a terminal") {
			t.Errorf("%s of the past offers something:\n%s", path, body)
		}
	}
}

// Pages are shared between those who may do the same, and with nobody else.
func TestAPageThatOffersActionsIsForThoseWhoMayAct(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	for _, path := range []string{"/", "/rollouts/shop/web", "/deployments/shop/web", "/devices/device-00001"} {
		tags := map[string]string{}
		for _, who := range []string{"ann", "vic", ""} {
			answer, _ := o.Get(path, dashboardtest.AsPerson, who)
			tags[who] = answer.Header.Get("ETag")
		}
		if tags["ann"] == tags["vic"] || tags["vic"] == tags[""] || tags["ann"] == "" {
			t.Errorf("%s has the tags %v: want one for each who may do something else", path, tags)
		}
		if answer, _ := o.Get(path, dashboardtest.AsPerson, "vic", "If-None-Match", tags["ann"]); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: an operator's page is a viewer's, too: %s", path, answer.Status)
		}
	}
}

func TestTheOverviewLeadsToTheActionThatHelps(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	o.AnswerRequests(func(e eventlog.Event, q eventlog.Request) eventlog.Draft {
		return dashboardtest.RolloutAnswer(t, eventlog.RolloutPaused, e, eventlog.Rollout{Revision: 2, Run: q.Run, Reason: "Requested", Verb: q.Verb})
	})
	o.Act("ann", "/rollouts/shop/web/pause")
	const link = `href="/rollouts/shop/web/resume"`
	dashboardtest.Eventually(t, "the overview leads to resume", func() bool {
		_, body := o.Get("/", dashboardtest.AsPerson, "ann")
		return strings.Contains(body, link)
	})
	if _, body := o.Get("/", dashboardtest.AsPerson, "vic"); strings.Contains(body, link) || !strings.Contains(body, "fleetctl rollout resume") {
		t.Errorf("the overview of a viewer has a link, or not the command:\n%s", body)
	}
	// One overview is for all of a class of rights: an operator of a namespace is offered no links,
	// for they might lead to another namespace's Deployment.
	if _, body := o.Get("/", dashboardtest.AsPerson, "sam"); strings.Contains(body, link) {
		t.Errorf("the overview of an operator of one namespace has links:\n%s", body)
	}
}
