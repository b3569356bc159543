package action_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

// A page elsewhere can have a browser send a form along with the session. Nothing of that
// reaches the log.
func TestAFormOfAnotherSiteDoesNothing(t *testing.T) {
	t.Parallel()
	o := dashboardtest.NewOffice(t, 4)
	form := o.Form("ann", "/rollouts/shop/web/abort")
	form.Set("confirm", "yes")
	plain := strings.ReplaceAll(form.Encode(), "&", "\r\n")
	const path = "/rollouts/shop/web/abort"
	for name, header := range map[string][]string{
		"a cross-site form":                        {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a form of a sister site":                  {"Sec-Fetch-Site", "same-site", "Origin", "https://other.example.org"},
		"a browser that says its origin alone":     {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a browser that says an opaque origin":     {"Sec-Fetch-Site", "", "Origin", "null"},
		"a client that says nothing":               {"Sec-Fetch-Site", "", "Origin", ""},
		"a client with an empty token":             {"Sec-Fetch-Site", "", "Origin", "", "Authorization", "Bearer "},
		"a client with a password":                 {"Sec-Fetch-Site", "", "Origin", "", "Authorization", "Basic YTpi"},
		"a form of text/plain":                     {"Content-Type", "text/plain"},
		"a form of parts":                          {"Content-Type", "multipart/form-data; boundary=x"},
		"JSON":                                     {"Content-Type", "application/json"},
		"a cross-site form of another method name": {"Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "GET"},
	} {
		answer, body := o.Post("ann", path, form, header...)
		if answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %s\n%s", name, answer.Status, body)
		}
	}
	if answer, _ := o.Send("ann", path, plain, "Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a form as plain text: %s", answer.Status)
	}
	for _, query := range []string{"?" + form.Encode(), "?_method=POST&" + form.Encode()} { // what is in the address is no form
		if answer, _ := o.Get(path+query, dashboardtest.AsPerson, "ann", "X-HTTP-Method-Override", "POST"); answer.StatusCode == http.StatusSeeOther {
			t.Errorf("GET %s acts", query)
		}
	}
	if answer, _ := o.Post("ann", path+"?"+form.Encode(), url.Values{}); answer.StatusCode == http.StatusSeeOther {
		t.Error("a form without fields acts by its address")
	}
	// The JSON API takes no session of a browser.
	ask := fmt.Sprintf(`{"verb":"abort","revision":%s,"run":%s}`, form.Get("revision"), form.Get("run"))
	for name, header := range map[string][]string{
		"from the own page": {"Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"},
		"from another site": {"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site"},
	} {
		if answer, _ := o.Send("ann", "/api/v1/rollouts/shop/web/requests", ask, header...); answer.StatusCode != http.StatusForbidden {
			t.Errorf("JSON %s without a token: %s", name, answer.Status)
		}
	}
	if got := o.Requests(); len(got) > 0 {
		t.Errorf("the log has %v", got)
	}
}
