package zitadel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	attempts       = 6
	firstRetry     = 500 * time.Millisecond
	longestRetry   = 10 * time.Second
	longestWaiting = 2 * time.Minute // that a provider may ask for
)

// question is one method of the API.
type question struct {
	doing  string // for a person: "create user pi-01"
	method string // its name, by which it is remembered where v2 lacks it
	needs  string // the role that the account needs
}

// Roles that an account needs.
const (
	needsUserManager = "ORG_USER_MANAGER"
	needsOwner       = "ORG_OWNER"
	needsInstance    = "IAM_OWNER"
)

// way is a method in one generation of the API.
type way struct {
	method, path string // of HTTP; the path is escaped
	in, out      any    // nil: none
}

// connect is a method of v2 that is served by Connect alone.
func connect(method string, in, out any) way { return way{http.MethodPost, "/" + method, in, out} }

// ask asks in v2, or in v1 where the server lacks the method. old says that v1
// answered. It fails with a *Refusal.
func (c *Client) ask(ctx context.Context, q question, v2, v1 way) (old bool, err error) {
	if _, lacks := c.v1.Load(q.method); !lacks {
		err := c.persist(ctx, q, v2)
		if !errors.Is(err, ErrNotServed) {
			return false, err
		}
		c.v1.Store(q.method, true)
	}
	return true, c.persist(ctx, q, v1)
}

// persist asks until there is an answer, for as long as the provider or the network
// is in trouble. To ask twice is safe: what the request made whose answer was lost
// exists already. Only a key is made twice then, and nobody has the first one's id.
func (c *Client) persist(ctx context.Context, q question, w way) error {
	renewed := false
	for attempt := 1; ; attempt++ {
		token, err := c.Tokens.Token(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", q.doing, err)
		}
		no := c.once(ctx, q, w, token)
		switch {
		case no == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(no, ErrToken) && !renewed && c.Tokens.Refused(token):
			renewed = true
			continue
		case !no.passing() || attempt == attempts || no.RetryAfter > longestWaiting:
			return no
		}
		if err := c.Sleep(ctx, c.backOff(attempt, no.RetryAfter)); err != nil {
			return err
		}
	}
}

// backOff has full jitter, so that many clients do not come at once, and is never
// less than what the provider asks for.
func (c *Client) backOff(attempt int, asked time.Duration) time.Duration {
	longest := min(longestRetry, firstRetry<<(attempt-1))
	return asked + time.Duration(c.Jitter()*float64(longest))
}

// once asks one time.
func (c *Client) once(ctx context.Context, q question, w way, token string) *Refusal {
	no := &Refusal{Doing: q.doing, Needs: q.needs, Organization: c.Organization}
	fail := func(kind error, cause error) *Refusal {
		no.Kind, no.cause = kind, cause
		return no
	}
	in := w.in
	if in == nil {
		in = struct{}{}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fail(ErrInvalid, err)
	}
	if w.method == http.MethodGet || w.method == http.MethodDelete {
		body = nil
	}
	r, err := http.NewRequestWithContext(ctx, w.method, c.Issuer+w.path, bytes.NewReader(body))
	if err != nil {
		return fail(ErrInvalid, err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	switch {
	case strings.HasPrefix(w.path, "/zitadel."):
		r.Header.Set("Connect-Protocol-Version", "1")
	case strings.HasPrefix(w.path, "/management/v1/") && c.Organization != "":
		r.Header.Set("x-zitadel-orgid", c.Organization)
	}
	res, err := c.http.Do(r)
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fail(ErrUntrusted, err)
	case err != nil:
		return fail(ErrUnreachable, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return fail(ErrUnreachable, err)
	case len(answer) > maxAnswerBytes:
		return fail(ErrAnswer, fmt.Errorf("it is longer than %d bytes", maxAnswerBytes))
	case res.StatusCode/100 != 2:
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
			no.RetryAfter = time.Duration(seconds) * time.Second
		}
		no.Status = res.StatusCode
		no.read(answer)
		return no
	case w.out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, w.out); err != nil {
		return fail(ErrAnswer, errors.New("it is not the JSON that was expected"))
	}
	return nil
}
