package render

import (
	"fmt"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// Logins is why a device gets in or does not.
type Logins struct {
	Device  string `json:"device"`
	Verdict string `json:"verdict"` // of the newest recorded login, or why there is none
	Do      string `json:"do,omitempty"`
	Fleet   string `json:"fleet"`  // whether it belongs to the fleet
	Access  string `json:"access"` // whether it may connect
	// Key says when the device's key ends; empty where the device does not report it.
	Key        string    `json:"key,omitempty"`
	KeyExpires time.Time `json:"key_expires,omitzero"`

	Logins  []Login         `json:"logins"`  // newest first
	Unknown []UnknownLogins `json:"unknown"` // of whom the token proved nobody
}

// Login is one that was let in, or those that were refused for one reason within a
// minute.
type Login struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Granted  bool      `json:"granted"`
	Count    int       `json:"count"`
	Reason   string    `json:"reason"`
	Means    string    `json:"means,omitempty"` // the reason in plain words
	Do       string    `json:"do,omitempty"`
	Message  string    `json:"message,omitempty"` // the callout's own sentence
	Account  string    `json:"account,omitempty"`
	KeyID    string    `json:"key_id,omitempty"` // of the provider's key that signed the token
}

// UnknownLogins are refused logins of one reason.
type UnknownLogins struct {
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Last   time.Time `json:"last"`
	Means  string    `json:"means,omitempty"`
	Do     string    `json:"do,omitempty"`
}

// Text writes it for people; most is how many logins are shown.
func (l Logins) Text(s cli.Streams, most int) {
	p := textWriter{s}
	p.hang("", 0, l.Device+": "+l.Verdict, hueOfVerdict(l))
	if l.Do != "" {
		p.hang("  Do: ", 6, l.Do, "")
	}
	p.line("")
	p.hang("Fleet   ", 8, l.Fleet, "")
	p.hang("Access  ", 8, l.Access, "")
	if l.Key != "" {
		p.hang("Key     ", 8, l.Key, "")
	}
	if len(l.Logins) > 0 {
		p.line("")
		p.line("Recorded logins, newest first")
		rows := [][]string{{"  TIME", "EVENT", "LOGIN", "TIMES", "REASON", "KEY"}}
		for _, one := range l.Logins[:min(most, len(l.Logins))] {
			what := "refused"
			if one.Granted {
				what = "let in"
			}
			rows = append(rows, []string{
				"  " + local(one.Time), fmt.Sprintf("#%d", one.Sequence), what, fmt.Sprint(one.Count), Printable(one.Reason), Printable(one.KeyID),
			})
		}
		Table(s, rows)
		if more := len(l.Logins) - most; more > 0 {
			p.line(fmt.Sprintf("  and %d before those; -n shows more, -o json all", more))
		}
		p.hang("  ", 2, "A login like the one that was let in before it is not recorded again.", dim)
	}
	if len(l.Unknown) == 0 {
		return
	}
	p.line("")
	p.hang("", 0, "Refused logins of the last 24 h whose token proved nobody: they may be this device's", "")
	for _, u := range l.Unknown {
		p.hang("  - ", 4, fmt.Sprintf("%s, %s, last at %s: %s", u.Reason, Plural(uint64(u.Count), "time", "times"), local(u.Last), u.Means), "")
		p.hang("    Do: ", 8, u.Do, "")
	}
}

func hueOfVerdict(l Logins) string {
	switch {
	case len(l.Logins) == 0:
		return yellow
	case l.Logins[0].Granted:
		return green
	}
	return red
}
