package podman

import (
	"context"
	"errors"
	"net"
	"net/url"
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
	text := err.Error()
	var model *errorhandling.ErrorModel
	if errors.As(err, &model) {
		text = model.Because + "\n" + model.Message
	}
	for _, r := range rules {
		if r.matches(text) {
			if r.reason != "" {
				reason = r.reason
			}
			return &engine.Error{Class: r.class, Reason: reason, Err: err}
		}
	}
	return &engine.Error{Class: engine.ClassRetry, Reason: reason, Err: err}
}

// failPull is fail for pulls, whose errors are plain text.
func failPull(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || away(err) {
		return fail(ctx, engine.ReasonImagePullFailed, err)
	}
	for _, r := range pullRules {
		if r.matches(err.Error()) {
			return &engine.Error{Class: r.class, Reason: r.reason, Err: err}
		}
	}
	return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: err}
}

// away says whether the service could not be asked at all.
func away(err error) bool {
	var connect bindings.ConnectError
	var request *url.Error
	var network *net.OpError
	return errors.As(err, &connect) || errors.As(err, &request) || errors.As(err, &network)
}

// rule gives a class and a reason to errors that contain one of some texts.
// Podman answers most things with 500, so that the text is all there is to go by.
type rule struct {
	class  engine.Class
	reason string // empty: the caller's
	texts  []string
}

func (r rule) matches(text string) bool {
	for _, t := range r.texts {
		if strings.Contains(text, t) {
			return true
		}
	}
	return false
}

// rules are looked at in order; the first that matches counts.
var rules = []rule{
	{engine.ClassRetry, "", []string{"container state improper"}},
	{engine.ClassRetry, engine.ReasonPortInUse, []string{"address already in use", "ports are not available", "port is already allocated"}},
	{engine.ClassRetry, engine.ReasonNameTaken, []string{"name is already in use", "container name already exists"}},
	{engine.ClassRetry, engine.ReasonContainerGone, []string{"no such container", "no container with name or ID"}},
	{engine.ClassRetry, engine.ReasonImageNotPresent, []string{"image not known", "no such image"}},
	{engine.ClassRetry, "", []string{"no such volume", "volume is being used"}},
	{engine.ClassChange, engine.ReasonInvalidContainer, []string{
		"invalid argument", "command that was not found", "OCI permission denied",
		"unknown capability", "is not a valid capability", "invalid capability", "no matching entries in passwd", "unable to find user", "unable to find group",
		"invalid mount option",
	}},
	// A disk that is still to be mounted, a directory that a person is about to make.
	{engine.ClassRetrySlowly, engine.ReasonInvalidContainer, []string{"no such file or directory"}},
}

// pullRules are the same for pulls. Rate limits come first: registries dress
// them up as other refusals.
var pullRules = []rule{
	{engine.ClassRetryLate, engine.ReasonImageRateLimited, []string{"toomanyrequests", "too many requests", "Too Many Requests"}},
	{engine.ClassRetrySlowly, engine.ReasonImageNotFound, []string{"manifest unknown", "name unknown", "StatusCode: 404", "repository does not exist"}},
	{engine.ClassRetrySlowly, engine.ReasonImageAccessDenied, []string{"unauthorized", "StatusCode: 403", "StatusCode: 401", "denied:", "authentication required"}},
	{engine.ClassChange, engine.ReasonInvalidImage, []string{
		"repository name must be lowercase", "invalid reference format", "short-name", "server gave HTTP response to HTTPS client",
		"no image found in manifest list", "no image found in image index", "invalid image reference",
	}},
}
