package dashboard

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
)

// openAPI answers with what describes the JSON API.
func (d *Dashboard) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Document()) // who asked has gone away: nobody to tell
}

// described says of each page's JSON what it is, and what is in it.
func described(name string) (summary string, of any) {
	switch name {
	case page.Overview:
		return "Whether the fleet is well", model.Overview{}
	case page.Deployments:
		return "The Deployments", model.Deployments{}
	case page.Deployment:
		return "One Deployment, its revisions, and in what two of them differ", model.Deployment{}
	case page.Rollout:
		return "The newest rollout of a Deployment, device by device", model.Rollout{}
	case page.Devices:
		return "The devices", model.Devices{}
	case page.Device:
		return "One device: what it should run, what it reports, and why", model.Device{}
	}
	return "In what the fleet differs at two moments", model.Changes{}
}

// parameterText says what a parameter of a query means.
func parameterText(name string) string {
	return map[string]string{
		"at":         "a moment: a sequence of the log (1234), a time (2026-11-24T14:03:00Z, 14:03 in UTC) or how long ago (-15m); without it, now",
		"from":       "the first moment, as at",
		"to":         "the second moment, as at",
		"namespace":  "of this namespace alone",
		"name":       "with this in its name",
		"state":      "in this state alone",
		"selector":   "devices whose labels match, as kubectl writes selectors",
		"deployment": "devices to which it is assigned: NAMESPACE/NAME",
		"page":       "which part of the list, from 1",
		"size":       "rows of a part, 1000 at most",
		"compare":    "the revision to compare; without it, the one before",
		"with":       "the revision to compare it with; without it, the newest",
	}[name]
}

type object = map[string]any

// Document is the OpenAPI document of the JSON API. It is made of the types that are sent,
// so that it is true.
func Document() any {
	s := schemas{}
	paths := object{}
	for _, sight := range sights() {
		summary, of := described(sight.page)
		var parameters []object
		for part := range strings.SplitSeq(sight.api, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				parameters = append(parameters, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
			}
		}
		for _, name := range sight.parameters {
			parameters = append(parameters, object{"name": name, "in": "query", "description": parameterText(name), "schema": object{"type": "string"}})
		}
		paths[sight.api] = object{"get": object{
			"summary": summary, "operationId": sight.page, "parameters": parameters,
			"responses": object{
				"200":     object{"description": summary, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(of))}}},
				"304":     object{"description": "It is as it was when the ETag of If-None-Match was given"},
				"default": object{"description": "Why there is no answer", "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[failureBody]())}}},
			},
		}}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Harmony Fleet", "version": "1",
			"description": "What the pages of the dashboard show, as JSON. Fields are added within a version; none is renamed or taken away.",
		},
		"paths": paths, "components": object{"schemas": s},
	}
}

// failureBody is the body of an answer that is none.
type failureBody struct {
	Error string `json:"error"`
}

// schemas are those of the structs that are sent, by name.
type schemas map[string]any

// of gives the schema of a type.
func (s schemas) of(t reflect.Type) any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[eventlog.Duration]():
		return object{"type": "string"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": []string{"array", "null"}, "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Struct:
		return s.reference(t)
	}
	return object{"type": "integer"}
}

// reference gives the name of a struct's schema, and makes that where it is not there.
func (s schemas) reference(t reflect.Type) any {
	name := t.Name()
	if parts := strings.Split(t.PkgPath(), "/"); parts[len(parts)-1] != "model" && parts[len(parts)-1] != "dashboard" {
		name = parts[len(parts)-1] + "." + name
	}
	if _, ok := s[name]; !ok {
		properties := object{}
		s[name] = object{"type": "object", "properties": properties} // it may refer to itself
		s.fields(t, properties)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// fields adds the fields of a struct, with those of structs that it embeds.
func (s schemas) fields(t reflect.Type, properties object) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, properties)
		case f.IsExported() && name != "-":
			if name == "" {
				name = f.Name
			}
			properties[name] = s.of(f.Type)
		}
	}
}
