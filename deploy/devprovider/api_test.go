package devprovider_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
)

const scopeOfAPI = "urn:zitadel:iam:org:project:id:zitadel:aud"

// call calls the management API with a token.
func (w *world) call(token, method, path, body string, header ...string) (status int, out map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.Issuer()+path, strings.NewReader(body))
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	w.must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	w.must(err)
	if json.Unmarshal(text, &out) != nil {
		out = map[string]any{"text": string(text)}
	}
	return res.StatusCode, out
}

// manager is a machine user that manages users, whose tokens may be opaque.
func (w *world) manager(t devprovider.TokenType) (token string) {
	w.t.Helper()
	w.user(devprovider.User{ID: "manager", Machine: true, TokenType: t})
	w.AddAdministrator("manager", organization, "ORG_USER_MANAGER")
	return w.token(w.keyOf("manager"), "openid", scopeOfAPI)
}

func TestTheManagementAPIRefusesAsZitadelDoes(t *testing.T) {
	t.Parallel()
	const create = `{"organizationId":"3000","userId":"pi-02","machine":{"name":"pi-02"}}`
	for name, tt := range map[string]struct {
		token        string // whose; empty: the manager's
		method, path string
		body         string
		connect      bool
		status       int
		code         any
		says         string
	}{
		"no token":                     {"none", "POST", "/v2/users/new", create, false, 401, 16.0, "invalid token"},
		"a token without the audience": {"device", "POST", "/v2/users/new", create, false, 401, 16.0, "AUTH-7fs1e"},
		"the same by Connect":          {"device", "POST", "/zitadel.user.v2.UserService/CreateUser", create, true, 401, "unauthenticated", "AUTH-7fs1e"},
		"no role":                      {"nobody", "POST", "/v2/users/new", create, false, 403, 7.0, "No matching permissions"},
		"another organization":         {"", "POST", "/v2/users/new", `{"organizationId":"9","machine":{"name":"x"}}`, false, 403, 7.0, "No matching permissions"},
		"an id that exists":            {"", "POST", "/v2/users/new", `{"organizationId":"3000","userId":"pi-01","machine":{"name":"x"}}`, false, 409, 6.0, "already exists"},
		"the same by Connect and v2":   {"", "POST", "/zitadel.user.v2.UserService/CreateUser", `{"organizationId":"3000","userId":"pi-01","machine":{"name":"x"}}`, true, 409, "already_exists", "already exists"},
		"the same in v1":               {"", "POST", "/management/v1/users/machine", `{"userId":"pi-01","userName":"x","name":"x"}`, false, 409, 6.0, "already exists"},
		"an unknown id":                {"", "GET", "/v2/users/none", "", false, 404, 5.0, "could not be found"},
		"an unknown key":               {"", "DELETE", "/v2/users/pi-01/keys/none", "", false, 404, 5.0, "could not be found"},
		"a path that is none":          {"", "POST", "/v2/none", "{}", false, 404, nil, "not found"},
		"a member that is misspelt":    {"", "POST", "/v2/users/new", `{"orgId":"3000"}`, false, 400, 3.0, "orgId"},
		"a key that ended already":     {"", "POST", "/v2/users/pi-01/keys", `{"expirationDate":"2020-01-01T00:00:00Z"}`, false, 400, 3.0, "ExpireBeforeNow"},
		"active already":               {"", "POST", "/v2/users/pi-01/reactivate", "{}", false, 400, 9.0, "NotInactive"},
		"Connect without its header":   {"", "POST", "/zitadel.user.v2.UserService/GetUserByID", `{"userId":"pi-01"}`, false, 400, "invalid_argument", "Connect-Protocol-Version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			w.user(devprovider.User{ID: "nobody", Machine: true, TokenType: devprovider.JWT})
			token := "none"
			switch tt.token {
			case "":
				token = w.manager(devprovider.JWT)
			case "device":
				token = w.token(w.key, deviceScopes...)
			case "nobody":
				token = w.token(w.keyOf("nobody"), "openid", scopeOfAPI)
			}
			var header []string
			if tt.connect {
				header = []string{"Connect-Protocol-Version", "1"}
			}
			status, out := w.call(token, tt.method, tt.path, tt.body, header...)
			text, _ := json.Marshal(out)
			if status != tt.status || out["code"] != tt.code || !bytes.Contains(text, []byte(tt.says)) {
				t.Errorf("%d %s; want %d, code %v, %q", status, text, tt.status, tt.code, tt.says)
			}
		})
	}
}

func TestTheManagementAPITakesBothSpellingsAndBothFormsOfTokens(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]devprovider.TokenType{"JWT": devprovider.JWT, "opaque": devprovider.Opaque} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devprovider.Options{})
			token := w.manager(form)
			status, out := w.call(token, "POST", "/v2/users/new", `{"organization_id":"3000","user_id":"pi-02","machine":{"name":"pi-02","access_token_type":"ACCESS_TOKEN_TYPE_JWT"}}`)
			if status != 200 || out["id"] != "pi-02" {
				t.Fatalf("create: %d %v", status, out)
			}
			status, out = w.call(token, "POST", "/v2/users/pi-02/metadata", `{"metadata":[{"key":"site","value":"bGFi"}]}`)
			if status != 200 {
				t.Errorf("set metadata: %d %v", status, out)
			}
			status, out = w.call(token, "POST", "/management/v1/users/pi-02/metadata/_search", `{}`)
			if all, _ := out["result"].([]any); status != 200 || len(all) != 1 || all[0].(map[string]any)["value"] != "bGFi" {
				t.Errorf("metadata: %d %v", status, out)
			}
			status, out = w.call(token, "POST", "/v2/users", `{"queries":[{"typeQuery":{"type":"TYPE_MACHINE"}},{"userNameQuery":{"userName":"pi-02","method":"TEXT_QUERY_METHOD_EQUALS"}},{"organizationIdQuery":{"organizationId":"3000"}}]}`)
			if all, _ := out["result"].([]any); status != 200 || len(all) != 1 || out["details"].(map[string]any)["totalResult"] != "1" {
				t.Errorf("search: %d %v", status, out)
			}
		})
	}
}

// What the API makes is as good as what tests add: a key signs in, a grant is in the
// token, and all of it outlives a restart.
func TestWhatTheManagementAPIMakesCountsAndIsKept(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{})
	w.AddAdministrator(machine, "", "IAM_OWNER")
	token := w.token(w.key, "openid", scopeOfAPI)
	connect := func(method, body string) map[string]any {
		t.Helper()
		status, out := w.call(token, "POST", "/zitadel."+method, body, "Connect-Protocol-Version", "1")
		if status != 200 {
			t.Fatalf("%s: %d %v", method, status, out)
		}
		return out
	}
	id := connect("project.v2.ProjectService/CreateProject", `{"organizationId":"3000","name":"fleet","projectRoleAssertion":true}`)["projectId"].(string)
	connect("project.v2.ProjectService/AddProjectRole", `{"projectId":"`+id+`","roleKey":"device","displayName":"Device"}`)
	connect("user.v2.UserService/CreateUser", `{"organizationId":"3000","userId":"pi-02","machine":{"name":"pi-02","accessTokenType":"ACCESS_TOKEN_TYPE_JWT"}}`)
	connect("authorization.v2.AuthorizationService/CreateAuthorization", `{"userId":"pi-02","projectId":"`+id+`","organizationId":"3000","roleKeys":["device"]}`)
	made := connect("user.v2.UserService/AddKey", `{"userId":"pi-02","expirationDate":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)
	var content []byte
	w.must(json.Unmarshal([]byte(`"`+made["keyContent"].(string)+`"`), &content))
	var file devprovider.KeyFile
	w.must(json.Unmarshal(content, &file))

	state, err := w.State()
	w.must(err)
	key := w.key
	for name, w := range map[string]*world{"at once": w, "after a restart": run(t, devprovider.Options{State: state})} {
		c := claims(t, w.token(file, "openid", "urn:zitadel:iam:org:project:id:"+id+":aud", "urn:zitadel:iam:org:projects:roles"))
		if roles, _ := c["urn:zitadel:iam:org:project:"+id+":roles"].(map[string]any); c["sub"] != "pi-02" || roles["device"] == nil {
			t.Errorf("%s: claims %v", name, c)
		}
		again := w.token(key, "openid", scopeOfAPI)
		if status, out := w.call(again, "POST", "/zitadel.project.v2.ProjectService/ListProjectRoles", `{"projectId":"`+id+`"}`, "Connect-Protocol-Version", "1"); status != 200 || len(out["projectRoles"].([]any)) != 1 {
			t.Errorf("%s: roles %d %v", name, status, out)
		}
	}
}
