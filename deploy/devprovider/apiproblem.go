package devprovider

import (
	"net/http"
	"strconv"
)

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

func itoa(n int) string { return strconv.Itoa(n) }
