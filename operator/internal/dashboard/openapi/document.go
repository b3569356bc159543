// Package openapi describes the JSON API of the dashboard, by the types that it answers with.
// It is pure.
package openapi

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

// API is what is described.
type API struct {
	Pages []Page
	Asks  Asks
}

// Page is a page whose model is answered as JSON.
type Page struct {
	Name       string   // as package page calls it
	Path       string   // the pattern
	Parameters []string // of the query
}

// Asks are what a program can ask for.
type Asks struct {
	Prefix   string            // of all paths
	Subjects map[string]string // the patterns behind it of what can be asked about, by kind
	Key      string            // the header that makes a request one
	Body     any               // a value of the type that is sent
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
	case page.Event:
		return "One event of the log: what led to it, what it led to, and what it changed", model.Event{}
	}
	return "In what the fleet differs at two moments", model.Changes{}
}

// parameterText says what a parameter of a query means.
func parameterText(name string) string {
	return map[string]string{
		"at":         "a moment: a sequence of the log (1234), a time (2026-11-24T14:03:00Z, 14:03 in UTC) or how long ago (-15m); without it, now",
		page.Axis:    "known, the fleet as the log knew it at the moment, which is the default; happened, as it was then by the clocks of those who wrote the events, however late the log learned of it; of two moments also both, the first as known and the second as it happened",
		"from":       "the first moment, as at",
		"to":         "the second moment, as at",
		"about":      "changes of this kind alone: deployment, device, assignment or state",
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
func Document(api API) any {
	s := schemas{}
	paths := object{}
	paths[eventsapi.Path] = eventsDescribed(s)
	for _, p := range api.Pages {
		summary, of := described(p.Name)
		parameters := pathParameters(p.Path)
		for _, name := range p.Parameters {
			parameters = append(parameters, object{"name": name, "in": "query", "description": parameterText(name), "schema": object{"type": "string"}})
		}
		paths[p.Path] = answered(s, summary, p.Name, parameters, of)
	}
	maps.Copy(paths, s.requestPaths(api.Asks))
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Harmony Fleet", "version": "1",
			"description": "What the pages of the dashboard show, as JSON, and what a person can ask for there. Fields are added within a version; none is renamed or taken away.",
		},
		"paths":      paths,
		"components": object{"schemas": s, "securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "description": "an access token of the identity provider"}}},
	}
}

// answered describes a question that is answered with a value.
func answered(s schemas, summary, id string, parameters []object, of any) object {
	return object{"get": object{
		"summary": summary, "operationId": id, "parameters": parameters,
		"responses": object{
			"200":     object{"description": summary, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(of))}}},
			"304":     object{"description": "It is as it was when the ETag of If-None-Match was given"},
			"default": object{"description": "Why there is no answer", "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[failureBody]())}}},
		},
	}}
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
	parts, ours := strings.Split(t.PkgPath(), "/"), []string{"model", "action", "openapi"}
	if !slices.Contains(ours, parts[len(parts)-1]) {
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

// eventsDescribed is what the document of the JSON API says of the events API.
func eventsDescribed(s schemas) object {
	var parameters []object
	for _, name := range eventsapi.Parameters() {
		parameters = append(parameters, object{"name": name, "in": "query", "description": eventParameters[name], "schema": object{"type": "string"}})
	}
	return answered(s, "The events of the log, in pages and as they come", "events", parameters, eventsapi.Answer{})
}

// eventParameters says what the parameters of the events API mean.
var eventParameters = map[string]string{
	"namespace":  "events that are about Deployments of this namespace",
	"deployment": "events that are about Deployments of this name",
	"device":     "events that are about this device",
	"type":       "events of this type (rollout.paused), or of all types that begin alike (rollout.); several with commas between them",
	"since":      "events from then on: a moment (RFC 3339), milliseconds since 1970, or a sequence",
	"until":      "events up to then",
	"order":      "desc, the newest first, which is the default; or asc",
	"limit":      "events of a page: 1 to 1000, by default 100",
	"before":     "events before this sequence",
	"after":      "events after this sequence",
	"data":       "true gives the payloads too",
}
