package dev

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is somebody's: it keeps cookies, and follows no redirect by itself. Cookies are kept by
// their names, and sent to the host that set them, as a browser does on the loopback.
type browser struct {
	t       *testing.T
	client  *http.Client
	cookies map[string]map[string]string // by host, then by name
	visited []string                     // addresses
}

func newBrowser(t *testing.T, caFile string) *browser {
	t.Helper()
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("the CA's file has no certificate")
	}
	return &browser{t: t, cookies: map[string]map[string]string{}, client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is an answer with its body.
type page struct {
	*http.Response
	body string
}

// at gives an address as a link on the page leads to it.
func (p page) at(link string) string {
	u, err := p.Request.URL.Parse(link)
	if err != nil {
		return link
	}
	return u.String()
}

// send sends a request with the browser's cookies. header are names and values.
func (b *browser) send(ctx context.Context, method, address string, form url.Values, header ...string) *http.Response {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" { // as by a proxy, whose servers are elsewhere
		r.Host = host
		r.Header.Del("Host")
	}
	for name, value := range b.cookies[r.Host] {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	b.visited = append(b.visited, address)
	answer, err := b.client.Do(r)
	if err != nil && ctx.Err() == nil {
		b.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	for _, c := range answer.Cookies() {
		if b.keep(r.Host, c.Name, c.Value); c.MaxAge < 0 {
			delete(b.cookies[r.Host], c.Name)
		}
	}
	return answer
}

func (b *browser) do(method, address string, form url.Values, header ...string) page {
	b.t.Helper()
	answer := b.send(b.t.Context(), method, address, form, header...)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		b.t.Fatal(err)
	}
	return page{answer, string(body)}
}

// get opens a page. Where it cannot be made just then, it is asked for again, as it says; but for
// the provider's answer to a sign-in, which is good for once.
func (b *browser) get(address string, header ...string) page {
	b.t.Helper()
	const tries = 10
	p := b.do(http.MethodGet, address, nil, header...)
	for try := 1; try < tries && p.StatusCode == http.StatusServiceUnavailable && !strings.HasPrefix(p.Request.URL.Path, "/auth/"); try++ {
		time.Sleep(2 * time.Second) // as its Retry-After says
		p = b.do(http.MethodGet, address, nil, header...)
	}
	return p
}

// next is where a page leads a browser by itself; empty: nowhere.
func (p page) next() string {
	if to := p.Header.Get("Location"); to != "" {
		return to
	}
	_, to, _ := strings.Cut(p.Header.Get("Refresh"), "url=")
	return to
}

// follow follows redirects from a page.
func (b *browser) follow(p page) page {
	b.t.Helper()
	for range 10 {
		to := p.next()
		if to == "" {
			return p
		}
		p = b.get(p.at(to))
	}
	b.t.Fatalf("the redirects do not end: %q", b.visited)
	return p
}

var signInID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// choose signs in at the provider's page, and gives its answer: the redirect with the code.
func (b *browser) choose(p page, user string) page {
	b.t.Helper()
	id := signInID.FindStringSubmatch(p.body)
	if id == nil {
		b.t.Fatalf("this is not the provider's page: %s\n%s", p.Status, p.body)
	}
	p = b.do(http.MethodPost, p.Request.URL.String(), url.Values{"id": {id[1]}, "user": {user}})
	return b.get(p.at(p.Header.Get("Location")))
}

// signIn opens a page of a dashboard, signs in as a person, and gives the page.
func (b *browser) signIn(address, user string) page {
	b.t.Helper()
	const tries = 5
	p := b.follow(b.choose(b.follow(b.get(address)), user))
	for try := 1; try < tries && p.StatusCode == http.StatusServiceUnavailable; try++ { // which asks to try again
		p = b.follow(b.choose(b.follow(b.get(address)), user))
	}
	return p
}

// keep keeps a cookie.
func (b *browser) keep(host, name, value string) {
	if b.cookies[host] == nil {
		b.cookies[host] = map[string]string{}
	}
	b.cookies[host][name] = value
}
