package podman

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/errorhandling"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/engine"
)

func model(because, message string) error {
	return &errorhandling.ErrorModel{Because: because, Message: message, ResponseCode: 500}
}

func mustFail(t interface {
	Helper()
	Errorf(format string, args ...any)
}, err error, class engine.Class, reason string,
) {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) || e.Class != class || e.Reason != reason {
		t.Errorf("%#v (%v), want class %d, reason %s", err, err, class, reason)
	}
}

// What can't be had from a real service in a test's time, as Podman 4.3 and its
// registries word it.
func TestErrorsAreClassedByTheirText(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		pull   bool
		class  engine.Class
		reason string
	}{
		"a registry that limits":   {errors.New("reading manifest 1 in docker.io/library/a: toomanyrequests: You have reached your pull rate limit"), true, engine.ClassRetryLate, engine.ReasonImageRateLimited},
		"a registry that cuts off": {errors.New("copying blob: unexpected EOF"), true, engine.ClassRetry, engine.ReasonImagePullFailed},
		"a registry without TLS":   {errors.New(`pinging container registry a:1: Get "https://a:1/v2/": http: server gave HTTP response to HTTPS client`), true, engine.ClassRetrySlowly, engine.ReasonInvalidImage},
		"no access, by its status": {errors.New("fetching blob: StatusCode: 403, <html>"), true, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
		"no access, in one word":   {errors.New("reading manifest 1 in 127.0.0.1:5077/den/app: denied"), true, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
		"no token":                 {errors.New("initializing source docker://a/b:1: Requesting bearer token: invalid status code from registry 403 (Forbidden)"), true, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
		"two registries, one of which is away": {errors.New("2 errors occurred while pulling:\n * initializing source docker://a/b:1: reading manifest 1 in a/b: manifest unknown\n" +
			" * initializing source docker://c/b:1: pinging container registry c: Get \"https://c/v2/\": dial tcp 192.0.2.1:443: i/o timeout"), true, engine.ClassRetry, engine.ReasonImagePullFailed},
		"another processor's image":    {errors.New(`choosing an image from manifest list docker://a/b:1: no image found in manifest list for architecture arm64`), true, engine.ClassRetrySlowly, engine.ReasonInvalidImage},
		"a port of another process":    {model("address already in use", "cannot listen on the TCP port: listen tcp4 :80: bind: address already in use"), false, engine.ClassRetry, engine.ReasonPortInUse},
		"a port, without root":         {model("rootlessport listen tcp 0.0.0.0:80: bind: address already in use", "rootlessport listen tcp 0.0.0.0:80: bind: address already in use"), false, engine.ClassRetry, engine.ReasonPortInUse},
		"a container that is busy":     {model("container state improper", "container must be in Created or Stopped state to be started"), false, engine.ClassRetry, "Given"},
		"what no rule names":           {model("internal error", "no idea"), false, engine.ClassRetry, "Given"},
		"a service that is away":       {bindings.ConnectError{Err: errors.New("refused")}, false, engine.ClassAway, engine.ReasonEngineAway},
		"a wrapped one":                {fmt.Errorf("podman at x: %w", bindings.ConnectError{Err: errors.New("refused")}), true, engine.ClassAway, engine.ReasonEngineAway},
		"a command that is not there":  {model("OCI runtime attempted to invoke a command that was not found", "runc create failed"), false, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
		"an option that there is not":  {model("invalid mount option", `unknown mount option "nope": invalid mount option`), false, engine.ClassChange, engine.ReasonInvalidContainer},
		"a cause in the message alone": {model("", "statfs /srv/data: no such file or directory"), false, engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := fail(t.Context(), "Given", test.err)
			if test.pull {
				err = failPull(t.Context(), "a/b:1", test.err)
			}
			mustFail(t, err, test.class, test.reason)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fail(ctx, "Given", errors.New("anything")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the context's end", err)
	}
}

// pulled is what Podman 4.3 says when it cannot pull an image, word by word.
var pulled = map[string]struct {
	text   string // REF, HOST, REPO, TAG stand for the image's
	class  engine.Class
	reason string
}{
	"nobody listens":         {`initializing source docker://REF: pinging container registry HOST: Get "http://HOST/v2/": dial tcp 127.0.0.1:9: connect: connection refused`, engine.ClassRetry, engine.ReasonImagePullFailed},
	"no such host":           {`initializing source docker://REF: pinging container registry HOST: Get "https://HOST/v2/": dial tcp: lookup HOST on 192.0.2.53:53: no such host`, engine.ClassRetry, engine.ReasonImagePullFailed},
	"a registry in trouble":  {`initializing source docker://REF: reading manifest TAG in HOST/REPO: received unexpected HTTP status: 500 Internal Server Error`, engine.ClassRetry, engine.ReasonImagePullFailed},
	"a tag that is unknown":  {`initializing source docker://REF: reading manifest TAG in HOST/REPO: manifest unknown: manifest unknown`, engine.ClassRetrySlowly, engine.ReasonImageNotFound},
	"a name that is unknown": {`initializing source docker://REF: reading manifest TAG in HOST/REPO: name unknown: repository name not known to registry`, engine.ClassRetrySlowly, engine.ReasonImageNotFound},
	"no credentials":         {`initializing source docker://REF: reading manifest TAG in HOST/REPO: unauthorized: authentication required`, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
	"no access":              {`initializing source docker://REF: reading manifest TAG in HOST/REPO: denied`, engine.ClassRetrySlowly, engine.ReasonImageAccessDenied},
	"a limit":                {`initializing source docker://REF: reading manifest TAG in HOST/REPO: toomanyrequests: You have reached your pull rate limit`, engine.ClassRetryLate, engine.ReasonImageRateLimited},
	"an image by itself":     {`REF: manifest unknown`, engine.ClassRetrySlowly, engine.ReasonImageNotFound},
	"no rule's business":     {`initializing source docker://REF: tls: first record does not look like a TLS handshake`, engine.ClassRetry, engine.ReasonImagePullFailed},
}

// hostile are words that rules look for.
func hostile() []string {
	var words []string
	for _, r := range append(append([]rule(nil), rules...), pullRules...) {
		words = append(words, r.texts...)
	}
	return words
}

// What the class of an error is does not depend on what the image is called:
// registry, repository and tag may be made of the very words that rules look for.
func TestTheNameOfAnImageIsNotReadAsAnError(t *testing.T) {
	t.Parallel()
	spelt := func(word string) string { // as a reference may have it
		return strings.Trim(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(word)), "-")
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.Map(rapid.SampledFrom(append(hostile(), "app")), spelt)
		host, tag := word.Draw(t, "host"), word.Draw(t, "tag")
		if rapid.Bool().Draw(t, "port") {
			host += ":5000"
		}
		repo := strings.Join(rapid.SliceOfN(word, 1, 3).Draw(t, "repository"), "/")
		ref := host + "/" + repo + ":" + tag
		for name, said := range pulled {
			text := strings.NewReplacer("REF", ref, "HOST", host, "REPO", repo, "TAG", tag).Replace(said.text)
			err := failPull(context.Background(), ref, errors.New(text))
			var e *engine.Error
			if !errors.As(err, &e) || e.Class != said.class || e.Reason != said.reason {
				t.Fatalf("%s: %#v (%v), want class %d, reason %s", name, err, err, said.class, said.reason)
			}
		}
	})
}

// refused is what Podman 4.3 says when it cannot make or start a container, word
// by word: its message, and the cause.
var refused = map[string]struct {
	message, because string // WORD stands for what the score says
	class            engine.Class
	reason           string
}{
	"no such path":    {`statfs /srv/WORD: no such file or directory`, "no such file or directory", engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
	"no such image":   {`localhost/WORD:1: image not known`, "image not known", engine.ClassRetry, engine.ReasonImageNotPresent},
	"no such command": {`runc: runc create failed: unable to start container process: exec: "WORD": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found`, "OCI runtime attempted to invoke a command that was not found", engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
	"no such user":    {`unable to find user WORD: no matching entries in passwd file`, "no matching entries in passwd file", engine.ClassRetrySlowly, engine.ReasonInvalidContainer},
	"no capability":   {`"CAP_WORD": unknown capability`, "unknown capability", engine.ClassChange, engine.ReasonInvalidContainer},
	"a taken name":    {`creating container storage: the container name "WORD" is already in use by 53e5. You have to remove that container to be able to reuse that name: that name is already in use`, "that name is already in use", engine.ClassRetry, engine.ReasonNameTaken},
	"a taken port":    {`cannot listen on the TCP port: listen tcp4 WORD: bind: address already in use`, "address already in use", engine.ClassRetry, engine.ReasonPortInUse},
	"a mount in vain": {`runc: runc create failed: unable to start container process: error during container init: error mounting "/srv/WORD" to rootfs at "/tool/WORD": open o_path procfd: open /tool/WORD: not a directory: OCI runtime error`, "OCI runtime error", engine.ClassRetry, "Given"},
	"gone":            {`no container with name or ID "WORD" found: no such container`, "no such container", engine.ClassRetry, engine.ReasonContainerGone},
}

// Nor does it depend on what paths, commands, users and names are called, which
// may hold any text.
func TestTextOfAScoreIsNotReadAsAnError(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom(append(hostile(), ": ", "\n", " * ", "/", "app")), 1, 6).Draw(t, "word")
		word := strings.Join(parts, "")
		for name, said := range refused {
			message := strings.ReplaceAll(said.message, "WORD", word)
			err := fail(context.Background(), "Given", model(said.because, message))
			var e *engine.Error
			if !errors.As(err, &e) || e.Class != said.class || e.Reason != said.reason {
				t.Fatalf("%s: %#v (%v), want class %d, reason %s", name, err, err, said.class, said.reason)
			}
		}
	})
}

func FuzzAnErrorHasAClass(f *testing.F) {
	for _, said := range pulled {
		f.Add("a/b:1", said.text)
	}
	f.Add("", "\"\\")
	f.Fuzz(func(t *testing.T, image, text string) {
		for _, err := range []error{
			failPull(t.Context(), image, errors.New(text)), fail(t.Context(), "Given", errors.New(text)),
			fail(t.Context(), "Given", model(text, image)), fail(t.Context(), "Given", model("", text)),
		} {
			var e *engine.Error
			if !errors.As(err, &e) || e.Reason == "" {
				t.Errorf("%#v has no reason", err)
			}
		}
	})
}
