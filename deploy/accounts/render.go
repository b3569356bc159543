package accounts

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// RenderOptions say how the configuration is written.
type RenderOptions struct {
	// Hash writes bcrypt hashes instead of passwords, for configuration that
	// others can read. Each connection then costs the server some 100 ms.
	Hash bool
}

// Render writes the accounts as NATS configuration text: to be included, or to
// stand beside a Server's. It fails on users that cannot be; see Users.
func Render(u Users, o RenderOptions) ([]byte, error) {
	users, err := u.list()
	if err != nil {
		return nil, fmt.Errorf("NATS accounts: %w", err)
	}
	w := &writer{}
	w.line("# Made by fleet.nationtech.io/deploy/accounts; change it there.")
	w.line("system_account: %s", System)
	w.callout(u.Callout, users)
	w.open("accounts {")
	for _, account := range allAccounts() {
		w.open("%s {", account)
		if account == Fleet {
			w.line("jetstream: enabled")
		}
		if account == Devices {
			w.line("limits: { max_payload: %d, max_subs: %d }", logstream.MaxReportBytes, maxDeviceSubscriptions)
		}
		w.crossings(account)
		if account == Fleet || account == Devices {
			w.mappings()
		}
		if err := w.users(users[account], o); err != nil {
			return nil, err
		}
		w.close("}")
	}
	w.close("}")
	return w.b.Bytes(), nil
}

// writer indents.
type writer struct {
	b     bytes.Buffer
	depth int
}

func (w *writer) line(format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", w.depth))
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *writer) open(format string, args ...any) { w.line(format, args...); w.depth++ }

func (w *writer) close(s string) { w.depth--; w.line("%s", s) }

func (w *writer) crossings(account string) {
	w.exports(account)
	var imports []string
	for _, c := range append(crossings(), peopleCrossings()...) {
		if c.to != account {
			continue
		}
		s := fmt.Sprintf("{ %s: { account: %s, subject: %s }", c.kind, c.from, quote(c.subject))
		if c.as != "" {
			s += ", to: " + quote(c.as)
		}
		if c.share {
			s += ", share: true"
		}
		imports = append(imports, s+" }")
	}
	w.list("imports", imports)
}

// exports writes one line for what several accounts take over.
func (w *writer) exports(account string) {
	type export struct {
		kind, subject string
		streamed      bool
	}
	var order []export
	takers := map[export][]string{}
	for _, c := range append(crossings(), peopleCrossings()...) {
		if c.from != account {
			continue
		}
		e := export{c.kind, c.subject, c.streamed}
		if takers[e] == nil {
			order = append(order, e)
		}
		takers[e] = append(takers[e], c.to)
	}
	var lines []string
	for _, e := range order {
		s := fmt.Sprintf("{ %s: %s, accounts: [%s]", e.kind, quote(e.subject), strings.Join(takers[e], ", "))
		if e.streamed {
			s += ", response_type: Stream"
		}
		lines = append(lines, s+" }")
	}
	w.list("exports", lines)
}

// callout has the servers ask the auth callout about everybody but the users of the
// configuration, whom they judge themselves.
func (w *writer) callout(c *Callout, users map[string][]user) {
	if c == nil {
		return
	}
	w.open("authorization {")
	w.line("timeout: %.1f", authorizationTimeout.Seconds())
	w.open("auth_callout {")
	w.line("issuer: %s", c.Issuer)
	w.line("xkey: %s", c.XKey)
	w.line("account: %s", Auth)
	var names []string
	for _, account := range allAccounts() {
		for _, u := range users[account] {
			names = append(names, u.User)
		}
	}
	w.line("auth_users: [%s]", quoteAll(names))
	w.close("}")
	w.close("}")
}

func (w *writer) list(name string, items []string) {
	if len(items) == 0 {
		return
	}
	w.open("%s: [", name)
	for _, s := range items {
		w.line("%s", s)
	}
	w.close("]")
}

// mappings turn puts of plain KV clients into appends, in both accounts.
func (w *writer) mappings() {
	w.open("mappings: {")
	for _, m := range eventlog.KVMappings() {
		w.line("%s: %s", quote(m.From), quote(m.To))
	}
	w.close("}")
}

func (w *writer) users(users []user, o RenderOptions) error {
	if len(users) == 0 {
		return nil
	}
	w.open("users: [")
	for _, u := range users {
		password := u.Password
		if o.Hash {
			h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
			if err != nil {
				return fmt.Errorf("password of user %s: %w", u.User, err)
			}
			password = string(h)
		}
		if u.permissions == nil {
			w.line("{ user: %s, password: %s }", quote(u.User), quote(password))
			continue
		}
		w.open("{ user: %s, password: %s, permissions: {", quote(u.User), quote(password))
		w.permissions(*u.permissions)
		w.close("} }")
	}
	w.close("]")
	return nil
}

func (w *writer) permissions(p callout.Permissions) {
	w.line("publish: { allow: [%s] }", quoteAll(p.Publish))
	w.line("subscribe: { allow: [%s] }", quoteAll(p.Subscribe))
	if r := p.Responses; r != nil {
		w.line("allow_responses: { max: %d, ttl: %q }", r.Max, duration(r.TTL))
	}
}

func quote(s string) string { return strconv.Quote(s) }

func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}

// duration writes whole units, such as 1h for 1h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
