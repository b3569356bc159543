package action_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

func TestAnOperatorPausesARolloutFromItsPage(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	o.AnswerRequests(func(e eventlog.Event, _ eventlog.Request) eventlog.Draft {
		return dashboardtest.RolloutAnswer(t, eventlog.RolloutPaused, e, eventlog.Rollout{Revision: 2})
	})
	_, body := o.Get("/rollouts/shop/web", dashboardtest.AsPerson, "ann")
	for _, want := range []string{`href="/rollouts/shop/web/pause"`, "What an operator can do", "fleetctl rollout pause web -n shop", "not possible: the rollout is neither on hold nor paused"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of the rollout does not have %q:\n%s", want, body)
		}
	}
	if strings.Contains(body, `href="/rollouts/shop/web/resume"`) {
		t.Error("the page offers to resume what is not held")
	}
	address, body := o.Act("ann", "/rollouts/shop/web/pause", "reason", "shop 17 <b>reports</b> broken tills")
	for _, want := range []string{"done", "is on hold", "shop 17 &lt;b&gt;reports&lt;/b&gt; broken tills", "by ann"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s does not have %q:\n%s", address, want, body)
		}
	}
	if diff := cmp.Diff([]string{"ann pause because shop 17 <b>reports</b> broken tills"}, o.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAFormThatIsSentTwiceAsksOnce(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	form := o.Form("ann", "/rollouts/shop/web/pause")
	var first string
	for range 2 {
		answer, body := o.Post("ann", "/rollouts/shop/web/pause", form)
		if answer.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s\n%s", answer.Status, body)
		}
		if first == "" {
			first = answer.Header.Get("Location")
		} else if again := answer.Header.Get("Location"); again != first {
			t.Errorf("the second form leads to %s, and the first to %s", again, first)
		}
	}
	if got := o.Requests(); len(got) != 1 {
		t.Errorf("the log has %v", got)
	}
	if other := o.Form("ann", "/rollouts/shop/web/pause"); other.Get("token") == form.Get("token") {
		t.Error("two forms have one token")
	}
	// The same token of another person is another request.
	if answer, _ := o.Post("sam", "/rollouts/shop/web/pause", form); answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") == first {
		t.Errorf("another person's form: %s to %s", answer.Status, answer.Header.Get("Location"))
	}
}

func TestAKeyThatIsHeldDownDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	var c dashboardtest.Clock // it stands still, so that no turn comes back while a slow machine asks
	o := dashboardtest.NewOffice(t, 4, c.Use)
	form := o.Form("ann", "/devices/device-00001/ping")
	var codes []int
	for range 12 {
		answer, _ := o.Post("ann", "/devices/device-00001/ping", form)
		codes = append(codes, answer.StatusCode)
	}
	if codes[0] != http.StatusOK || codes[len(codes)-1] != http.StatusTooManyRequests {
		t.Errorf("answers %v: want the first ones done, and the last ones refused", codes)
	}
	if answer, _ := o.Post("sam", "/rollouts/shop/web/pause", o.Form("sam", "/rollouts/shop/web/pause")); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("another person has to wait: %s", answer.Status)
	}
}

func TestADangerousActionIsConfirmed(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	for path, right := range map[string]string{
		"/rollouts/shop/web/abort":           "yes",
		"/rollouts/shop/web/promote-full":    "yes",
		"/devices/device-00002/revoke":       "yes",
		"/devices/device-00003/decommission": "device-00003",
	} {
		before := len(o.Requests())
		form := o.Form("ann", path)
		for _, wrong := range []string{"", "no", "device-00001"} {
			form.Set("confirm", wrong)
			if answer, body := o.Post("ann", path, form); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, `role="alert"`) || !strings.Contains(body, `<form method="post" class="act"`) {
				t.Errorf("%s with %q: %s\n%s", path, wrong, answer.Status, body)
			}
		}
		if got := o.Requests(); len(got) > before {
			t.Fatalf("%s without a confirmation: the log has %v", path, got)
		}
		form.Set("confirm", right)
		if answer, body := o.Post("ann", path, form); answer.StatusCode != http.StatusSeeOther {
			t.Errorf("%s with %q: %s\n%s", path, right, answer.Status, body)
		}
	}
	all := o.Requests()
	slices.Sort(all)
	want := []string{"ann abort", "ann decommission", "ann promote full", "ann revoke"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAnOrphanedDeploymentIsWithdrawnFromItsPage(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	ended := func(typ eventlog.Type, reason string) eventlog.Draft {
		d, err := eventlog.NewDraft(eventlog.DeploymentSubject("shop", "web"), typ, time.Now(), eventlog.DeploymentEnd{Reason: reason})
		if err != nil {
			t.Error(err)
		}
		return d
	}
	if _, err := appender.Unfenced(t.Context(), o.JS, "test", ended(eventlog.DeploymentOrphaned, "CRMissing")); err != nil {
		t.Fatal(err)
	}
	o.AnswerRequests(func(eventlog.Event, eventlog.Request) eventlog.Draft {
		return ended(eventlog.DeploymentDeleted, "Requested")
	})
	dashboardtest.Eventually(t, "the page offers to withdraw it", func() bool {
		_, body := o.Get("/deployments/shop/web", dashboardtest.AsPerson, "sam")
		return strings.Contains(body, `href="/deployments/shop/web/withdraw"`)
	})
	if _, body := o.Act("sam", "/deployments/shop/web/withdraw", "confirm", "yes", "reason", "replaced"); !strings.Contains(body, "shop/web is withdrawn") {
		t.Errorf("the page does not say what became of it:\n%s", body)
	}
	if diff := cmp.Diff([]string{"sam withdraw because replaced"}, o.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
