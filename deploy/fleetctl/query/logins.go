package query

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// Login is what the callout recorded of logins: one that was let in, when something
// about it had changed, or those that were refused for one reason within a minute.
type Login struct {
	Sequence uint64
	Time     time.Time // when the log recorded it
	Granted  bool
	eventlog.Auth
}

// Logins is what the log knows of one device's logins and access.
type Logins struct {
	Standing
	// Own are the device's, newest first.
	Own []Login
	// Unknown are those of whom the token proved nobody, newest first, since a moment:
	// they may be the device's.
	Unknown []Login
}

// ReadLogins reads what the callout recorded of a device.
func ReadLogins(ctx context.Context, js jetstream.JetStream, device string, unknownSince time.Time) (Logins, error) {
	var l Logins
	var err error
	l.Standing, err = readStanding(ctx, js, device, func(e eventlog.Event) (err error) {
		if e.Address.Family == eventlog.FamilyAuth {
			l.Own, err = appendLogin(l.Own, e)
		}
		return err
	})
	if err != nil {
		return l, err
	}
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: []string{eventlog.AuthSubject(eventlog.AuthUnknown)}, Since: unknownSince}) {
		if err == nil {
			l.Unknown, err = appendLogin(l.Unknown, e)
		}
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return l, err
		}
	}
	slices.Reverse(l.Own)
	slices.Reverse(l.Unknown)
	return l, nil
}

func appendLogin(all []Login, e eventlog.Event) ([]Login, error) {
	a, err := eventlog.Payload[eventlog.Auth](e)
	if err != nil {
		return all, err
	}
	return append(all, Login{e.Sequence, e.Recorded, e.Type == eventlog.AuthGranted, a}), nil
}
