package devprovider

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const maxCallBytes = 1 << 20

// call is one call of the management API.
type call struct {
	*directory
	caller string // user id
	// organization is that of the header x-zitadel-orgid, else the caller's own. It
	// counts in v1.
	organization string
	members      map[string]any
}

// wildcards are the members of a request that stand in a path.
var wildcards = []string{"userId", "keyId", "projectId", "roleKey", "applicationId", "appId", "organizationId", "key", "grantId"}

// read reads the body and the path. Members may be in camelCase or snake_case.
func (c *call) read(w http.ResponseWriter, r *http.Request) *problem {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBytes))
	if err != nil {
		return &problem{invalidArgument, "REST-1", "the body is too long"}
	}
	c.members = map[string]any{}
	if len(body) > 0 && json.Unmarshal(body, &c.members) != nil {
		return &problem{invalidArgument, "REST-2", "the body is not a JSON object"}
	}
	c.members = camel(c.members).(map[string]any)
	for _, name := range wildcards {
		if value := r.PathValue(name); value != "" {
			c.members[name] = value
		}
	}
	return nil
}

var snake = regexp.MustCompile(`_[a-z]`)

// camel writes the names of members in camelCase, however deep.
func camel(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[snake.ReplaceAllStringFunc(name, func(s string) string { return strings.ToUpper(s[1:]) })] = camel(value)
		}
		return out
	case []any:
		for i := range v {
			v[i] = camel(v[i])
		}
	}
	return v
}

// into decodes the request strictly: Zitadel ignores a member that it does not
// know, and a client that misspells one should fail in its tests.
func (c *call) into(v any) *problem {
	text, err := json.Marshal(c.members)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		err = d.Decode(v)
	}
	if err != nil {
		return &problem{invalidArgument, "REST-3", "invalid request: " + err.Error()}
	}
	return nil
}

// visible says whether searches show an object yet. mu is held.
func (d *directory) visible(id string) bool { return !time.Now().Before(d.unseen[id]) }

// hide keeps a new object out of searches for as long as projections lag. mu is held.
func (d *directory) hide(id string) {
	if d.lag > 0 {
		d.unseen[id] = time.Now().Add(d.lag)
	}
}

func (p *Provider) now() time.Time { return time.Now() }

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// details are what v1 says of a change.
func details(organization string) map[string]any {
	return map[string]any{"sequence": "1", "changeDate": stamp(time.Now()), "resourceOwner": organization}
}

// result is the answer of a search of v1 and of the older ones of v2.
func result(all []any) map[string]any {
	return map[string]any{"details": map[string]any{"totalResult": strconv.Itoa(len(all)), "timestamp": stamp(time.Now())}, "result": all}
}

// paged is the answer of the newer searches of v2.
func paged(member string, all []any) map[string]any {
	return map[string]any{"pagination": map[string]any{"totalResult": strconv.Itoa(len(all)), "appliedLimit": "100"}, member: all}
}

// rpcCode is one of gRPC's status codes.
type rpcCode struct {
	number int
	name   string
	status int // of HTTP
}

// Codes.
var (
	invalidArgument    = rpcCode{3, "invalid_argument", http.StatusBadRequest}
	notFound           = rpcCode{5, "not_found", http.StatusNotFound}
	alreadyExists      = rpcCode{6, "already_exists", http.StatusConflict}
	permissionDenied   = rpcCode{7, "permission_denied", http.StatusForbidden}
	failedPrecondition = rpcCode{9, "failed_precondition", http.StatusBadRequest}
	unauthenticatedAs  = rpcCode{16, "unauthenticated", http.StatusUnauthorized}
)

// problem is why a call is refused.
type problem struct {
	code    rpcCode
	id      string // Zitadel's id of the place
	message string
}

func unauthenticated(id, message string) *problem {
	return &problem{unauthenticatedAs, id, message}
}

func noRight() *problem {
	return &problem{permissionDenied, "AUTH-5mWD2", "No matching permissions found"}
}

func unknown(id, what string) *problem {
	return &problem{notFound, id, what + " could not be found"}
}

func exists(id, what string) *problem {
	return &problem{alreadyExists, id, what + " already exists"}
}

// answer writes the problem as REST does, or as Connect does.
func (p *problem) answer(w http.ResponseWriter, connect bool) {
	message := p.message + " (" + p.id + ")"
	if connect {
		answer(w, p.code.status, map[string]any{"code": p.code.name, "message": message})
		return
	}
	answer(w, p.code.status, map[string]any{"code": p.code.number, "message": message, "details": []any{
		map[string]any{"@type": "type.googleapis.com/zitadel.v1.ErrorDetail", "id": p.id, "message": p.message},
	}})
}
