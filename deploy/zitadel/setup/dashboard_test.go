package setup_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// The dashboard's application gives codes to a public client with PKCE alone, at the dashboard's
// own address, and JWTs with roles: what the dashboard's sign-in and the auth callout need.
func TestTheDashboardGetsAnApplicationForItsSignIn(t *testing.T) {
	t.Parallel()
	for address, developmentMode := range map[string]bool{"https://fleet.example.org": false, "http://localhost:18080": true} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{}, devprovider.Everything)
			w.wanted.DashboardURL = address + "/"
			o := w.carry()
			if o.DashboardURL != address {
				t.Errorf("the dashboard is at %q", o.DashboardURL)
			}
			w.must(o.Save(w.dir, w.Issuer(), nil))
			saved, _, err := setup.Load(w.dir)
			w.must(err)
			if saved.DashboardURL != address || saved.DashboardClient != o.DashboardClient || o.DashboardClient == "" {
				t.Errorf("saved was %+v", saved)
			}

			want := map[string]any{
				"clientId": o.DashboardClient, "appType": "OIDC_APP_TYPE_WEB", "authMethodType": "OIDC_AUTH_METHOD_TYPE_NONE",
				"responseTypes": []any{"OIDC_RESPONSE_TYPE_CODE"}, "grantTypes": []any{"OIDC_GRANT_TYPE_AUTHORIZATION_CODE"},
				"redirectUris": []any{address + "/auth/callback"}, "postLogoutRedirectUris": []any{address + "/"},
				"accessTokenType": "OIDC_TOKEN_TYPE_JWT", "accessTokenRoleAssertion": true,
			}
			if developmentMode {
				want["devMode"] = true
			}
			got := map[string]any{}
			found := w.call("POST", "/management/v1/projects/"+o.Project+"/apps/_search", map[string]any{})
			for _, a := range found["result"].([]any) {
				if a := a.(map[string]any); a["name"] == "fleet-dashboard" {
					got = a["oidcConfig"].(map[string]any)
				}
			}
			for name, byDefault := range map[string]string{"appType": "OIDC_APP_TYPE_WEB", "authMethodType": "OIDC_AUTH_METHOD_TYPE_BASIC"} {
				if got[name] == nil { // the API leaves out what is a default
					got[name] = byDefault
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the application (-want +got):\n%s", diff)
			}
		})
	}
}
