package signin

import (
	"net/http"
	"time"
)

// Cookies. A browser takes one of the prefix __Host- from this host alone, over TLS or on the
// loopback, and for all paths (RFC 6265bis, section 4.1.3.2).
const (
	SessionCookie = "__Host-fleet-session"
	attemptCookie = "__Host-fleet-sign-in"
)

// cookie makes one that scripts cannot read, and that other sites' forms do not bring along.
func cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}
}

// without makes the one that takes a cookie away.
func without(name string) *http.Cookie {
	c := cookie(name, "", 0)
	c.MaxAge = -1
	return c
}

// valueOf gives the value of a cookie that is there once; empty where it is not. A browser that
// has two of one name was given one by another site or server.
func valueOf(r *http.Request, name string) string {
	all := r.CookiesNamed(name)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}
