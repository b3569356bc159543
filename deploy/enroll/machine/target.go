package machine

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Target is a device as a person names it: ssh://USER@HOST:PORT. What is empty comes
// from the SSH configuration.
type Target struct {
	User, Host string
	Port       int // 0: the configuration's, else 22
}

// ParseTarget reads ssh://USER@HOST:PORT, USER@HOST:PORT or HOST.
func ParseTarget(text string) (Target, error) {
	whole := text
	if !strings.Contains(text, "://") {
		whole = "ssh://" + text
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil || u.Scheme != "ssh" || u.Hostname() == "":
		return Target{}, fmt.Errorf("%q is not of the form ssh://USER@HOST:PORT", text)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return Target{}, fmt.Errorf("%q has more than ssh://USER@HOST:PORT", text)
	case strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-"):
		return Target{}, fmt.Errorf("%q begins with a dash where a name belongs", text)
	}
	t := Target{User: u.User.Username(), Host: u.Hostname()}
	if _, has := u.User.Password(); has {
		return Target{}, fmt.Errorf("the address of %s holds a password, which others can read: leave it out, and type it when it is asked for", t.Host)
	}
	if p := u.Port(); p != "" {
		if t.Port, err = strconv.Atoi(p); err != nil || t.Port < 1 || t.Port > 65535 {
			return Target{}, fmt.Errorf("%q: the port must be from 1 to 65535", text)
		}
	}
	return t, nil
}

// String is the target as a person names it.
func (t Target) String() string {
	s := "ssh://"
	if t.User != "" {
		s += t.User + "@"
	}
	if t.Port != 0 {
		return s + net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	}
	if strings.Contains(t.Host, ":") {
		return s + "[" + t.Host + "]"
	}
	return s + t.Host
}
