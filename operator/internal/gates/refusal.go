package gates

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode/utf8"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// refused says why a server gave no answer. status is that of its response; 0: none came.
func (c client) refused(ctx context.Context, status int, err error) reply {
	var said *promv1.Error
	switch {
	case errors.Is(err, errTooLarge):
		return c.noValue("%s gave more than 1 MiB, and a gate needs one sample: aggregate in the query, such as sum(...)", c.name())
	case ctx.Err() != nil:
		return c.failed(err, "%s did not answer within %s", c.name(), c.timeout)
	case !errors.As(err, &said):
		return c.failed(err, "%s cannot be reached: %s", c.name(), unreached(err))
	case status == http.StatusOK && strings.HasPrefix(said.Msg, "unexpected value type"): // a string, which the client does not decode
		return c.noValue("%s gave no number, and a gate needs one", c.name())
	case said.Type == promv1.ErrTimeout || said.Type == promv1.ErrCanceled:
		return c.failed(err, "%s gave the query up: %s", c.name(), plain(said.Msg))
	case (status == http.StatusBadRequest || status == http.StatusUnprocessableEntity) && said.Type != promv1.ErrClient:
		return c.failed(nil, "%s refused the query: %s", c.name(), plain(said.Msg)) // the gate's fault, not the server's
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return c.failed(err, "%s refused the operator (HTTP %d): check --prometheus-token-file %s=FILE", c.name(), status, c.server.Name)
	case status >= 300 && status < 400:
		return c.failed(err, "%s redirects (HTTP %d), which the operator does not follow: start the operator with the URL that answers, --prometheus %s=URL", c.name(), status, c.server.Name)
	case status == http.StatusNotFound || status/100 == 2:
		return c.failed(err, "%s gave no answer of Prometheus (HTTP %d): check the URL of --prometheus %s", c.name(), status, c.server.Name)
	}
	return c.failed(err, "%s answered with HTTP %d", c.name(), status)
}

// unreached says why nothing came from a server, without its address.
func unreached(err error) string {
	var dns *net.DNSError
	var number syscall.Errno
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, io.EOF):
		return "it closed the connection"
	case errors.As(err, &dns):
		return "its name is not resolved"
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &certificate):
		return "its certificate is not trusted"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS"
	}
	return "the operator's log has the cause"
}

// maxSaid bounds what is repeated of a server's words, in bytes.
const maxSaid = 300

// plain makes one short line of what a server said.
func plain(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if len(text) <= maxSaid {
		return text
	}
	end := maxSaid
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
