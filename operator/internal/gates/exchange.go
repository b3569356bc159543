package gates

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

const (
	// maxResponse bounds what a server may send, in bytes, so that no query fills the
	// operator's memory.
	maxResponse = 1 << 20
	// maxToken bounds a token, in bytes.
	maxToken = 64 << 10
)

var (
	errTooLarge = errors.New("the response is larger than 1 MiB")
	errToken    = errors.New("no token")
)

// exchange is the HTTP side of one question.
type exchange struct {
	transport http.RoundTripper
	token     string // empty: none
	status    int    // of the last response; 0: none came
}

var _ http.RoundTripper = (*exchange)(nil)

// RoundTrip implements http.RoundTripper.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	if x.token != "" {
		r = r.Clone(r.Context()) // a round tripper must not change what it is given
		r.Header.Set("Authorization", "Bearer "+x.token)
	}
	resp, err := x.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	x.status = resp.StatusCode
	resp.Body = &bounded{body: resp.Body, left: maxResponse}
	return resp, nil
}

// client follows no redirect: a server that the operator's own flag does not name must
// hear neither the query nor the token.
func (x *exchange) client() *http.Client {
	return &http.Client{Transport: x, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// bounded fails once more is read than may be.
type bounded struct {
	body io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// Close implements io.Closer.
func (b *bounded) Close() error { return b.body.Close() }

// readToken reads a bearer token. No error has a part of it.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errToken, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errToken, err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case token == "":
		return "", fmt.Errorf("%w: %s is empty", errToken, file)
	case len(b) > maxToken:
		return "", fmt.Errorf("%w: %s is larger than 64 KiB", errToken, file)
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", fmt.Errorf("%w: %s has more than one word, or characters that no token has", errToken, file)
	}
	return token, nil
}
