package openapi

import (
	"reflect"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/model"
)

// requestPaths describes what a program can ask for.
func (s schemas) requestPaths(asks Asks) object {
	answer := func(text string, of reflect.Type) object {
		return object{"description": text, "content": object{"application/json": object{"schema": s.of(of)}}}
	}
	failed := answer("Why there is no answer", reflect.TypeFor[failureBody]())
	request := reflect.TypeFor[model.Request]()
	wait := object{"name": "wait", "in": "query", "description": "how long to wait for the operator's answer, such as 10s, 20s at most; without it, no time", "schema": object{"type": "string"}}
	bearer := []object{{"bearer": []string{}}}
	out := object{
		asks.Prefix + "requests/{sequence}": object{"get": object{
			"summary": "What became of a request", "operationId": "request", "parameters": append(pathParameters("requests/{sequence}"), wait),
			"responses": object{"200": answer("The request, and its answer where there is one", request), "default": failed},
		}},
		asks.Prefix + "devices/{device}/ping": object{"post": object{
			"summary": "Ask a device whether it is there", "operationId": "ping", "parameters": pathParameters("devices/{device}"), "security": bearer,
			"responses": object{"200": answer("How it answered, or why there is no answer", reflect.TypeFor[model.Pong]()), "default": failed},
		}},
	}
	for kind, path := range asks.Subjects {
		out[asks.Prefix+path+"/requests"] = object{"post": object{
			"summary": "Ask the operator for something in " + kind, "operationId": "ask-" + kind, "security": bearer,
			"description": "The request goes into the log in the name of the person whose token it shows. The verbs are those that the JSON of the page has under actions.",
			"parameters": append(pathParameters(path), wait, object{
				"name": asks.Key, "in": "header", "description": "16 to 64 letters, digits, hyphens and underscores: the same for the same request, which is then made once within two minutes; another request with the same key is answered by 422", "schema": object{"type": "string"},
			}),
			"requestBody": object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(asks.Body))}}},
			"responses": object{
				"200":     answer("The operator answered: state says how", request),
				"202":     answer("The request is in the log, and the operator has not answered it yet", request),
				"default": failed,
			},
		}}
	}
	return out
}

// pathParameters describes the parameters in a path.
func pathParameters(path string) []object {
	var out []object
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			out = append(out, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	return out
}
