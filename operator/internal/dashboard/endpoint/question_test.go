package endpoint_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
)

func TestAMomentThatTheLogDoesNotReachIsSaidInASentence(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js)
	for query, want := range map[string]struct {
		code int
		says string
	}{
		"/devices?at=99999":                            {404, "beyond the log's end"},
		"/devices?at=18446744073709551615":             {404, "beyond the log's end"},
		"/devices?at=1970-01-01T00:00:00Z":             {404, "before the log begins"},
		"/devices?at=2999-01-01T00:00:00Z":             {404, "yet to come"},
		"/devices?at=2999-01-01T00:00:00+02:00":        {404, "yet to come"}, // a plus that is not encoded
		"/changes?from=1&to=2999-01-01T00:00:00+02:00": {404, "yet to come"},
		"/devices?at=yesterday":                        {400, "is no moment"},
		"/devices?at=-1":                               {400, "is no moment"},
		"/devices?at=18446744073709551616":             {400, "is no moment"},
		"/devices?at=0x10":                             {400, "is no moment"},
		"/devices?at=5&at=6":                           {400, "once"},
		"/devices?at=5%00":                             {400, "is no moment"},
		"/devices?att=5":                               {400, "did you mean at"},
		"/devices?at=%zz":                              {400, "cannot be read"},
		"/changes?from=99999":                          {404, "beyond the log's end"},
		"/changes?from=1&to=99999":                     {404, "beyond the log's end"},
		"/devices/nobody":                              {404, "knows no device"},
		"/devices/device-00002?at=2":                   {404, "at that moment"},
		"/deployments/shop/nothing":                    {404, "knows no Deployment"},
		"/rollouts/shop/nothing":                       {404, "knows no Deployment"},
		"/deployments/shop/web?compare=0":              {400, "no number"},
		"/devices?at=5&as=known+to+me":                 {400, "is none of"},
		"/devices?at=5&as=both":                        {400, "is none of"},
		"/devices?at=99999&as=happened":                {404, "beyond the log's end"},
		"/devices?state=wet":                           {400, "is none of"},
		"/devices?selector=a%3D%3D%3Db":                {400, "is no selector"},
		"/devices?deployment=web":                      {400, "NAMESPACE/NAME"},
		"/devices?deployment=shop/":                    {400, "RFC 1123"},
		"/devices?deployment=/web":                     {400, "RFC 1123"},
		"/devices?deployment=shop/web/x":               {400, "RFC 1123"},
		"/events/0":                                    {400, "is no sequence"},
		"/events/x":                                    {400, "is no sequence"},
		"/events/99999":                                {404, "no event 99999"},
		"/events/5?at=4":                               {404, "no event 5 at that moment"},
		"/events/18446744073709551616":                 {400, "is no sequence"},
		"/devices?size=1001":                           {400, "above 1000"},
		"/devices?page=-1":                             {400, "no number"},
		"/devices/..%2f..%2fdeployments":               {400, "device"},
		"/nothing":                                     {404, "no such page"},
	} {
		for _, prefix := range []string{"", "/api/v1"} {
			answer, body := s.Get(prefix + query)
			if answer.StatusCode != want.code || !strings.Contains(strings.ReplaceAll(body, "&#39;", "'"), want.says) {
				t.Errorf("%s%s answers %d, want %d with %q: %s", prefix, query, answer.StatusCode, want.code, want.says, body)
			}
		}
	}
}

func TestAListOfEventsThatCannotBeIsSaidInASentence(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js)
	for query, want := range map[string]string{
		"before=nonsense": "is no number", "before=0": "is no number", "before=-1": "is no number", "before=99999999999999999999": "is no number", "before=5&after=3": "one of before and after",
		"only=right": "is none of wrong", "type=rolloutt.started": "did you mean", "limit=1001": "is no number from 1 to 1000", "device=a/b": "device", "namespace=..": "namespace",
		"device=device-00001&namespace=shop&type=budget.": "no event is of such a type", "page=2": "There is no parameter",
	} {
		if answer, body := s.Get("/events?" + query); answer.StatusCode != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(body, "&#39;", "'"), want) {
			t.Errorf("/events?%s answers %d, want 400 with %q: %s", query, answer.StatusCode, want, body)
		}
	}
	for _, query := range []string{"before=1", "before=99999", "after=99999", "before=9223372036854775807"} {
		if answer, body := s.Get("/events?" + query); answer.StatusCode != http.StatusOK {
			t.Errorf("/events?%s answers %s: %s", query, answer.Status, body)
		}
	}
}

// Pages that one opens one after the other at "-5m" are of one moment, which is kept.
func TestATimeThatIsToldFromNowStandsStillForAWhile(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	var c dashboardtest.Clock
	s := dashboardtest.New(t, js, c.Use)
	c.Set(10 * time.Minute)
	clocks := map[time.Time]bool{}
	for _, path := range []string{"overview", "deployments", "devices", "rollouts/shop/web"} {
		_, body := s.Get("/api/v1/" + path + "?at=-5m")
		var m struct{ Moment model.Moment }
		if err := json.Unmarshal([]byte(body), &m); err != nil || m.Moment.Clock.IsZero() {
			t.Fatalf("%v: %s", err, body)
		}
		clocks[m.Moment.Clock] = true
		c.Add(time.Second + time.Millisecond)
	}
	if len(clocks) != 1 {
		t.Errorf("within 4 s they are of %d moments: %v", len(clocks), clocks)
	}
}
