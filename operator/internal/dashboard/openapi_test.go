package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
)

// document is what is read of the OpenAPI document.
type document struct {
	Paths map[string]map[string]struct {
		Summary    string
		Parameters []struct{ Name, In, Description string }
		Responses  map[string]struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema
}

// The document describes each path, each parameter and each field of what is really answered.
func TestTheDocumentDescribesWhatIsAnswered(t *testing.T) {
	t.Parallel()
	s := dashboardtest.NewOffice(t, 4)
	made, _ := s.Post("ann", "/rollouts/shop/web/pause", s.Form("ann", "/rollouts/shop/web/pause"))
	address := made.Header.Get("Location")
	_, text := s.Get("/api/v1/openapi.json")
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Paths) < 7 {
		t.Errorf("%d paths are described", len(d.Paths))
	}
	verbs := map[string]string{"rollouts": "abort", "deployments": "withdraw", "devices": "revoke"}
	for path, methods := range d.Paths {
		asked := strings.NewReplacer("{namespace}", "shop", "{name}", "web", "{device}", "device-00001", "{sequence}", strings.TrimPrefix(address, "/requests/")).Replace(path)
		if strings.HasSuffix(path, "/changes") {
			asked += "?from=1"
		}
		for method, m := range methods {
			if m.Summary == "" {
				t.Errorf("%s %s has no summary", method, path)
			}
			for _, p := range m.Parameters {
				if p.In == "query" && p.Description == "" {
					t.Errorf("%s: parameter %s is not described", path, p.Name)
				}
			}
			answer, body := s.Get(asked)
			if method == "post" {
				ask := fmt.Sprintf(`{"verb": %q}`, verbs[strings.Split(path, "/")[3]])
				answer, body = s.Send("ann", asked, ask, "Authorization", "Bearer hers", "Content-Type", "application/json")
			}
			described, ok := m.Responses[strconv.Itoa(answer.StatusCode)]
			if !ok {
				described = m.Responses["default"]
			}
			if !ok && answer.StatusCode != http.StatusConflict { // what is not orphaned is not withdrawn
				t.Errorf("%s %s: %s %s", method, asked, answer.Status, body)
			}
			d.holds(t, path, described.Content["application/json"].Schema, dashboardtest.Plain(t, json.RawMessage(body)))
		}
	}
}

// holds says where a value is not as a schema says.
func (d *document) holds(t *testing.T, at string, s schema, v any) {
	t.Helper()
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if s, ok = d.Components.Schemas[name]; !ok {
			t.Errorf("%s: there is no schema %s", at, name)
			return
		}
	}
	is := func(kind string) bool {
		all, several := s.Type.([]any)
		return s.Type == nil || s.Type == kind || several && slices.Contains(all, any(kind))
	}
	switch v := v.(type) {
	case map[string]any:
		if !is("object") {
			t.Errorf("%s is an object, and described as %v", at, s.Type)
		}
		for k, inner := range v {
			of, known := s.Properties[k]
			if !known && s.AdditionalProperties != nil {
				of, known = *s.AdditionalProperties, true
			}
			if !known && s.Type != nil {
				t.Errorf("%s.%s is not described", at, k)
				continue
			}
			d.holds(t, at+"."+k, of, inner)
		}
	case []any:
		if !is("array") {
			t.Errorf("%s is a list, and described as %v", at, s.Type)
		}
		for i, inner := range v {
			if s.Items != nil {
				d.holds(t, fmt.Sprintf("%s[%d]", at, i), *s.Items, inner)
			}
		}
	case string:
		if !is("string") {
			t.Errorf("%s is %q, and described as %v", at, v, s.Type)
		}
	case bool:
		if !is("boolean") {
			t.Errorf("%s is %t, and described as %v", at, v, s.Type)
		}
	case float64:
		if !is("integer") && !is("number") {
			t.Errorf("%s is %v, and described as %v", at, v, s.Type)
		}
	}
}
