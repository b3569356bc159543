package podman

import (
	"context"
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/errorhandling"

	"fleet.nationtech.io/agent/engine"
)

// fail gives an error its class. reason is for what no rule names.
func fail(ctx context.Context, reason string, err error) error {
	if err == nil {
		return ctx.Err() // some calls that were cut short say nothing
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if away(err) {
		return &engine.Error{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: err}
	}
	for _, r := range rules {
		if slices.ContainsFunc(causes(err), r.matches) {
			if r.reason != "" {
				reason = r.reason
			}
			return &engine.Error{Class: r.class, Reason: reason, Err: err}
		}
	}
	return &engine.Error{Class: engine.ClassRetry, Reason: reason, Err: err}
}

// failPull is fail for pulls of an image, whose errors are plain text.
func failPull(ctx context.Context, image string, err error) error {
	if err == nil || ctx.Err() != nil || away(err) {
		return fail(ctx, engine.ReasonImagePullFailed, err)
	}
	said := slices.DeleteFunc(clauses(err.Error()), func(clause string) bool {
		return strings.Contains(image, "/") && strings.HasPrefix(clause, image)
	})
	for _, r := range pullRules {
		if slices.ContainsFunc(said, r.matches) {
			return &engine.Error{Class: r.class, Reason: r.reason, Err: err}
		}
	}
	return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: err}
}

// causes are the clauses of an error that name its cause. The service gives the
// innermost error by itself. Its message quotes what the score says on the way
// there (paths, commands, users), some of it without quotation marks, so that only
// its last clause counts, and only where the service names no cause.
func causes(err error) []string {
	text := err.Error()
	var model *errorhandling.ErrorModel
	if errors.As(err, &model) {
		if text = model.Because; text == "" {
			text = model.Message
		}
	}
	all := clauses(text)
	if model != nil && model.Because != "" {
		return []string{all[0], all[len(all)-1]}
	}
	return all[len(all)-1:]
}

var (
	quotation = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")
	boundary  = regexp.MustCompile(`: |\n[\t *]*`)
)

// clauses gives an error's text from each of its clauses on, without what it
// quotes. A clause begins behind a colon or on a new line, and with words of the
// program that wrote it ("reading manifest 1 in …"): what the score says stands
// behind them, so that rules look at the beginnings alone.
func clauses(text string) []string {
	text = quotation.ReplaceAllString(text, `""`)
	all := []string{text}
	for _, at := range boundary.FindAllStringIndex(text, -1) {
		all = append(all, text[at[1]:])
	}
	return all
}

// away says whether the service could not be asked at all.
func away(err error) bool {
	var connect bindings.ConnectError
	var request *url.Error
	var network *net.OpError
	return errors.As(err, &connect) || errors.As(err, &request) || errors.As(err, &network)
}

// rule gives a class and a reason to errors that have a clause which begins with
// one of some texts. Podman answers most things with 500, so that the text is all
// there is to go by.
type rule struct {
	class  engine.Class
	reason string // empty: the caller's
	texts  []string
}

func (r rule) matches(clause string) bool {
	return slices.ContainsFunc(r.texts, func(t string) bool { return strings.HasPrefix(clause, t) })
}

// rules are looked at in order; the first that matches counts. ClassChange is for
// what only another score can mend: an image, a volume or the device may bring what
// is missing.
var rules = []rule{
	{engine.ClassRetry, "", []string{"container state improper"}},
	{engine.ClassRetry, engine.ReasonPortInUse, []string{"address already in use", "ports are not available", "port is already allocated"}},
	{engine.ClassRetry, engine.ReasonNameTaken, []string{"that name is already in use", "name is already in use", "container name already exists"}},
	{engine.ClassRetry, engine.ReasonContainerGone, []string{"no such container", "no container with name or ID"}},
	{engine.ClassRetry, engine.ReasonImageNotPresent, []string{"image not known", "no such image"}},
	{engine.ClassRetry, "", []string{"no such volume", "volume is being used"}},
	{engine.ClassChange, engine.ReasonInvalidContainer, []string{
		"unknown capability", "invalid mount option",
	}},
	// A disk that is still to be mounted, a directory that a person is about to make,
	// an image that lacks a command or a user until it is built again.
	{engine.ClassRetrySlowly, engine.ReasonInvalidContainer, []string{
		"no such file or directory", "invalid argument", "OCI runtime attempted to invoke a command that was not found",
		"OCI permission denied", "no matching entries in passwd", "no matching entries in group",
	}},
}

// pullRules are the same for pulls. Trouble with the network comes first: it says
// nothing about the image, and is over soon. Then come rate limits: registries
// dress them up as other refusals.
var pullRules = []rule{
	{engine.ClassRetry, engine.ReasonImagePullFailed, []string{
		"dial tcp", "dial udp", "lookup ", "read tcp", "write tcp", "read udp", "connection refused", "connection reset", "no such host",
		"no route to host", "network is unreachable", "i/o timeout", "EOF", "unexpected EOF", "net/http", "context deadline exceeded",
		"received unexpected HTTP status: 5",
	}},
	{engine.ClassRetryLate, engine.ReasonImageRateLimited, []string{
		"toomanyrequests", "too many requests", "StatusCode: 429", "received unexpected HTTP status: 429", "invalid status code from registry 429",
	}},
	{engine.ClassRetrySlowly, engine.ReasonImageNotFound, []string{"manifest unknown", "name unknown", "repository does not exist", "StatusCode: 404"}},
	{engine.ClassRetrySlowly, engine.ReasonImageAccessDenied, []string{
		"unauthorized", "denied", "authentication required", "requested access to the resource is denied", "StatusCode: 401", "StatusCode: 403",
		"invalid status code from registry 401", "invalid status code from registry 403",
	}},
	// Another image under the same name, or the device's registries.conf, mends these.
	{engine.ClassRetrySlowly, engine.ReasonInvalidImage, []string{
		"short-name ", "server gave HTTP response to HTTPS client", "no image found in manifest list", "no image found in image index",
	}},
	{engine.ClassChange, engine.ReasonInvalidImage, []string{
		"repository name must be lowercase", "invalid reference format", "invalid image reference",
	}},
}
