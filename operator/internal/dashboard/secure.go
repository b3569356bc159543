package dashboard

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/internal/dashboard/signin"
)

// policy lets a page load what this server has, and nothing inline.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets the headers by which a browser protects the person who looks.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Vary", "Cookie, Authorization, Accept-Encoding")
		next.ServeHTTP(w, r)
	})
}

// healthPath is where a load balancer asks whether the dashboard is served, by whatever name it
// calls the server.
const healthPath = "/healthz"

// healthy answers at healthPath that the dashboard is served. That says nothing of the fleet.
func healthy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != healthPath || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n") // the client has gone away
	})
}

// named refuses requests that call the server by another name than its own: that of its
// address where persons sign in, and else the loopback's.
func (d *Dashboard) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case d.o.SignIn != nil && !d.o.SignIn.SameHost(r.Host):
			d.respond.Error(w, r, respond.Errorf(http.StatusMisdirectedRequest, "The dashboard does not answer to the name %.100q: open %s.", r.Host, d.o.SignIn.URL()))
		case d.o.SignIn == nil && !d.o.AnyHost && !Loopback(r.Host):
			d.respond.Error(w, r, respond.Errorf(http.StatusMisdirectedRequest, "the dashboard does not answer to the name %.100q: open it as localhost", r.Host))
		default:
			if d.o.SignIn != nil && strings.HasPrefix(d.o.SignIn.URL(), "https:") {
				w.Header().Set("Strict-Transport-Security", "max-age=31536000")
			}
			next.ServeHTTP(w, r)
		}
	})
}

// LoopbackNames refuses requests that call a server on the loopback by another name than the
// loopback's: they come from a page of another origin, whose name an attacker lets resolve to
// the loopback.
func LoopbackNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Loopback(r.Host) {
			http.Error(w, fmt.Sprintf("this server is on the loopback and does not answer to the name %q: call it localhost", r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Loopback says whether a host, with or without a port, is this machine's own.
func Loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return signin.Loopback(host)
}

// CheckListen says why the dashboard must not be served at an address; nil where it may. open
// says that each who reaches the address may read.
func CheckListen(address string, open bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no address such as 127.0.0.1:18080: %w", address, err)
	}
	if open || Loopback(host) {
		return nil
	}
	return fmt.Errorf("%q is not the loopback, and the dashboard asks nobody to sign in: give 127.0.0.1 or [::1], or --dashboard-open-to-the-network, by which each who reaches it may read all that the event log says", address)
}
