package podman

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/errorhandling"

	"fleet.nationtech.io/agent/engine"
)

// What can't be had from a real service in a test's time, as Podman 4.3 and its
// registries word it.
func TestErrorsAreToldByTheirText(t *testing.T) {
	t.Parallel()
	model := func(because, message string) error {
		return &errorhandling.ErrorModel{Because: because, Message: message, ResponseCode: 500}
	}
	for name, test := range map[string]struct {
		err    error
		pull   bool
		class  engine.Class
		reason string
	}{
		"a registry that limits":      {errors.New("reading manifest 1 in docker.io/library/a: toomanyrequests: You have reached your pull rate limit"), true, engine.ClassRetryLate, engine.ReasonImageRateLimited},
		"a registry that cuts off":    {errors.New("copying blob: unexpected EOF"), true, engine.ClassRetry, engine.ReasonImagePullFailed},
		"a registry without TLS":      {errors.New("http: server gave HTTP response to HTTPS client"), true, engine.ClassChange, engine.ReasonInvalidImage},
		"no access, by its status":    {errors.New("fetching blob: StatusCode: 403, <html>"), true, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
		"a port of another process":   {model("address already in use", "cannot listen on the TCP port: listen tcp4 :80: bind: address already in use"), false, engine.ClassRetry, engine.ReasonPortInUse},
		"a container that is busy":    {model("container state improper", "container must be in Created or Stopped state to be started"), false, engine.ClassRetry, "Given"},
		"what no rule names":          {model("internal error", "no idea"), false, engine.ClassRetry, "Given"},
		"a service that is away":      {bindings.ConnectError{Err: errors.New("refused")}, false, engine.ClassAway, engine.ReasonEngineAway},
		"a wrapped one":               {fmt.Errorf("podman at x: %w", bindings.ConnectError{Err: errors.New("refused")}), true, engine.ClassAway, engine.ReasonEngineAway},
		"a command that is not there": {model("OCI runtime attempted to invoke a command that was not found", "runc create failed"), false, engine.ClassChange, engine.ReasonInvalidContainer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := fail(t.Context(), "Given", test.err)
			if test.pull {
				err = failPull(t.Context(), test.err)
			}
			var e *engine.Error
			if !errors.As(err, &e) || e.Class != test.class || e.Reason != test.reason {
				t.Errorf("%#v, want class %d, reason %s", err, test.class, test.reason)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fail(ctx, "Given", errors.New("anything")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the context's end", err)
	}
}
