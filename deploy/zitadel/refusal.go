package zitadel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Why the provider does not do what is asked. Each is a sentence that says what to do.
var (
	// ErrNoAudience is HTTP status 401 with AUTH-7fs1e.
	ErrNoAudience = errors.New("the provider does not take the token for its own API: the token lacks the audience zitadel; sign in by fleetctl, or request the token with the scope urn:zitadel:iam:org:project:id:zitadel:aud")
	// ErrToken is HTTP status 401 otherwise.
	ErrToken = errors.New("the provider does not take the token: it ended, or its user is not active; sign in again")
	// ErrNoRight is HTTP status 403.
	ErrNoRight = errors.New("the account has no right to do this")
	// ErrNotFound is HTTP status 404 of a method that the server has.
	ErrNotFound = errors.New("the provider does not know it: look for it in the provider's console")
	// ErrExists is HTTP status 409.
	ErrExists = errors.New("the provider has one of this id or name already: choose another one, or use the one that is there")
	// ErrInvalid is HTTP status 400 with code 3.
	ErrInvalid = errors.New("the provider takes the request for a wrong one: correct what its message names")
	// ErrState is HTTP status 400 with code 9.
	ErrState = errors.New("the provider does not do this in the state that the object is in: look for it in the provider's console")
	// ErrNotServed says that a method is there neither in v2 nor in v1.
	ErrNotServed = errors.New("the provider does not have this method, in v2 or in v1: check that --issuer is a Zitadel of version 2 to 4")
	// ErrHost says that the host is of no instance.
	ErrHost = errors.New("the provider has no instance for this host: give its external address as --issuer")
	// ErrLimited is HTTP status 429, after several attempts.
	ErrLimited = errors.New("the provider limits how many requests it takes: try again later")
	// ErrUnavailable is HTTP status 5xx, after several attempts.
	ErrUnavailable = errors.New("the provider is in trouble: try again later, and look in its log")
	// ErrUnreachable says that there was no answer, after several attempts.
	ErrUnreachable = errors.New("the provider does not answer: check --issuer and the network between here and there")
	// ErrUntrusted says that the server's certificate is not trusted.
	ErrUntrusted = errors.New("the provider's certificate is not trusted: give the CA that signed it by --ca-file")
	// ErrAnswer says that an answer cannot be read.
	ErrAnswer = errors.New("the provider's answer cannot be read: check that --issuer is a Zitadel")

	// ErrOtherOrganization says that an id is not to be had for this organization.
	ErrOtherOrganization = errors.New("the id belongs to a user of another organization, or to a user that was deleted; ids are unique in the provider's instance and are not given twice: choose another id for the device")
	// ErrNotMachine says that an id is that of a person.
	ErrNotMachine = errors.New("the id belongs to a person, not to a machine user: choose another id for the device")
	// ErrNameTaken says that another user has the name.
	ErrNameTaken = errors.New("another user of the organization has the id as its username: rename or remove that user in the provider's console, or choose another id for the device")
)

// Refusal is what the provider did not do, and why.
type Refusal struct {
	Kind         error  // one of the errors above
	Doing        string // what was asked
	Needs        string // the role that the account needs
	Organization string // where
	Status       int    // of HTTP; 0: there was no answer
	Message      string // the provider's
	RetryAfter   time.Duration
	cause        error
}

func (r *Refusal) Error() string {
	text := r.Doing + ": " + r.Kind.Error()
	if errors.Is(r.Kind, ErrNoRight) {
		where := ""
		if r.Organization != "" && r.Needs != needsInstance {
			where = " in organization " + r.Organization
		}
		text += fmt.Sprintf(": give it the role %s%s at the provider", r.Needs, where)
	}
	switch {
	case errors.Is(r.Kind, ErrLimited) && r.RetryAfter > 0:
		text += fmt.Sprintf(" (it asks for %s)", r.RetryAfter)
	case r.Message != "":
		text += fmt.Sprintf(" (it says: %s)", r.Message)
	case r.cause != nil:
		text += fmt.Sprintf(" (%v)", r.cause)
	}
	return text
}

// Unwrap gives the kind, and the cause where there is one.
func (r *Refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.Kind}
	}
	return []error{r.Kind, r.cause}
}

// passing says whether to ask again may help.
func (r *Refusal) passing() bool {
	return errors.Is(r.Kind, ErrLimited) || errors.Is(r.Kind, ErrUnavailable) || errors.Is(r.Kind, ErrUnreachable)
}

// placeForm is the id of a place in Zitadel's code, at the end of its own messages.
var placeForm = regexp.MustCompile(`\([A-Za-z0-9]+-[A-Za-z0-9]+\)$`)

const maxMessage = 300

// oneLine takes from a text what a terminal would obey.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, ""))
}

// read reads an answer that is no success. REST has numbers for codes, Connect names.
func (r *Refusal) read(body []byte) {
	var said struct {
		Code    any    `json:"code"`
		Message string `json:"message"`
	}
	isJSON := json.Unmarshal(body, &said) == nil && said.Code != nil
	r.Message = said.Message
	if !isJSON {
		r.Message = strings.TrimSpace(string(body))
	}
	r.Message = oneLine(r.Message[:min(len(r.Message), maxMessage)])
	code := strings.TrimSuffix(fmt.Sprint(said.Code), ".0")
	switch {
	case r.Status == http.StatusNotFound && strings.Contains(strings.ToLower(r.Message), "instance not found"):
		r.Kind = ErrHost
	case code == "12" || code == "unimplemented", r.Status == http.StatusMethodNotAllowed,
		r.Status == http.StatusNotFound && code != "not_found" && (!isJSON || !placeForm.MatchString(r.Message)):
		r.Kind = ErrNotServed
	case r.Status == http.StatusNotFound:
		r.Kind = ErrNotFound
	case r.Status == http.StatusUnauthorized && strings.Contains(r.Message, "AUTH-7fs1e"):
		r.Kind = ErrNoAudience
	case r.Status == http.StatusUnauthorized:
		r.Kind = ErrToken
	case r.Status == http.StatusForbidden:
		r.Kind = ErrNoRight
	case r.Status == http.StatusConflict:
		r.Kind = ErrExists
	case r.Status == http.StatusTooManyRequests:
		r.Kind = ErrLimited
	case code == "9" || code == "failed_precondition":
		r.Kind = ErrState
	case r.Status >= http.StatusInternalServerError:
		r.Kind = ErrUnavailable
	default:
		r.Kind = ErrInvalid
	}
}
