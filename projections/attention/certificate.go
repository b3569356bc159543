package attention

import (
	"fmt"
	"time"
)

// Certificate is that of the NATS servers, as the server shows it to whoever connects.
type Certificate struct {
	Begins time.Time // zero: not known
	Ends   time.Time
}

// How long before its end a certificate needs a person, and from when that is urgent.
const (
	CertificateWarning = 30 * 24 * time.Hour
	CertificateAlarm   = 7 * 24 * time.Hour
)

// Severity is how urgent the end of a certificate is at a time; 0 where it is not. A certificate
// of a short life is renewed late by rights: it needs a person once less than a third of its life
// is left, and urgently once less than a tenth is.
func (c Certificate) Severity(now time.Time) Severity {
	warning, alarm := CertificateWarning, CertificateAlarm
	if !c.Begins.IsZero() {
		life := c.Ends.Sub(c.Begins)
		warning, alarm = min(warning, life/3), min(alarm, life/10)
	}
	switch left := c.Ends.Sub(now); {
	case left < alarm, left <= 0:
		return Critical
	case left < warning:
		return Warning
	}
	return 0
}

// certificate is about the end of the servers' certificate.
func (l *list) certificate() {
	c := l.facts.Certificate
	if c == nil {
		return
	}
	severity := c.Severity(l.now)
	if severity == 0 {
		return
	}
	title, verb := "the NATS servers' certificate ends soon", "ends"
	if !l.now.Before(c.Ends) {
		title, verb = "the NATS servers' certificate has ended", "ended"
	}
	l.add(Item{
		Kind: CertificateExpiring, Severity: severity, Title: title, Command: "fleetctl doctor",
		Reason: fmt.Sprintf("it %s at %s, and from then on the servers let in no device and no operator that connects: renew it, in a cluster by fleetctl install", verb, c.Ends.UTC().Format(time.RFC3339)),
	})
}
