package action

import (
	"mime"
	"net/http"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/respond"
)

// maxBody bounds what a form or a program sends, in bytes.
const maxBody = 16 << 10

const formType = "application/x-www-form-urlencoded"

// fromOwnPage refuses a form that does not say which page it comes from: a browser brings the
// session along, no matter which page made the form. (What a browser says comes from another
// site is refused before, for all that changes something.) A client that sends neither header is no
// browser, and has to show a token of its own.
func fromOwnPage(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" && !hasToken(r) {
		return respond.Error{Code: http.StatusForbidden, Text: "The request does not say which page it comes from. Nothing was done. Programs use the JSON API, with a token in the header Authorization."}
	}
	return nil
}

// hasToken says whether a request shows a token itself, which no browser adds by itself.
func hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && token != ""
}

// bounded takes a body of one type, and bounds it.
func bounded(w http.ResponseWriter, r *http.Request, want string) error {
	if is, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || is != want {
		return respond.Errorf(http.StatusUnsupportedMediaType, "The body must be of the type %s.", want)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	return nil
}
