package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

const (
	// cutOffLimit is how long a revoked device may stay connected here, where all parts share
	// a machine that may do much else: its token would hold for hours.
	cutOffLimit = 20 * time.Second
	pingTimeout = 300 * time.Millisecond
)

// cameIn shows by which identity each device was let in.
func (s *story) cameIn(ctx context.Context) error {
	for _, d := range s.devices {
		granted, err := s.lastLogin(ctx, d)
		if err != nil {
			return err
		}
		if granted.Type != eventlog.AuthGranted {
			return fmt.Errorf("the log has no auth.granted of %s", d)
		}
		a, err := eventlog.Payload[eventlog.Auth](granted)
		if err != nil {
			return err
		}
		s.tell("%4d  auth.granted  %s is %s in account %s, by a token of the provider's key %s, over %s",
			granted.Sequence, d, a.Actor, a.Account, a.KeyID, s.fleet.configs[d].NATS.URL)
	}
	return nil
}

// lastLogin is the last event of a device's logins; its type is empty where there is
// none.
func (s *story) lastLogin(ctx context.Context, device string) (last eventlog.Event, err error) {
	for e, err := range reader.Read(ctx, s.js, reader.Options{Subjects: []string{eventlog.AuthSubject(device)}}) {
		if err != nil {
			return last, fmt.Errorf("logins of %s: %w", device, err)
		}
		last = e
	}
	return last, nil
}

// revoke takes a device's access away, and gives it back.
func (s *story) revoke(ctx context.Context) error {
	device := s.devices[len(s.devices)-1]
	answers := func(ctx context.Context) (bool, string, error) {
		err := s.ping(ctx, device)
		return err == nil, fmt.Sprintf("a ping ends with %v", err), nil
	}
	if err := until(ctx, 30*time.Second, answers); err != nil {
		return fmt.Errorf("device %s did not answer a ping before the revocation: %w", device, err)
	}
	revoked, err := s.access(ctx, device, eventlog.RequestRevoke, "stolen")
	if err != nil {
		return err
	}
	err = until(ctx, 30*time.Second, func(ctx context.Context) (bool, string, error) {
		err := s.ping(ctx, device)
		return errors.Is(err, nats.ErrNoResponders), fmt.Sprintf("a ping ends with %v", err), nil
	})
	if err != nil {
		return fmt.Errorf("device %s was not cut off: %w", device, err)
	}
	took := time.Since(revoked)
	if took > cutOffLimit {
		return fmt.Errorf("%s was cut off after %s, the limit is %s", device, took, cutOffLimit)
	}
	s.tell("%s was cut off within %s of that event", device, took.Round(time.Millisecond))
	err = until(ctx, 30*time.Second, func(ctx context.Context) (bool, string, error) {
		e, err := s.lastLogin(ctx, device)
		if err != nil || e.Type != eventlog.AuthDenied {
			return false, "the last login is " + string(e.Type), err
		}
		a, err := eventlog.Payload[eventlog.Auth](e)
		if err != nil {
			return false, "", err
		}
		s.tell("%4d  auth.denied  %s: %s", e.Sequence, device, a.Reason)
		return true, "", nil
	})
	if err != nil {
		return fmt.Errorf("the callout did not refuse device %s: %w", device, err)
	}
	allowed, err := s.access(ctx, device, eventlog.RequestAllow, "found")
	if err != nil {
		return err
	}
	if err := until(ctx, 60*time.Second, answers); err != nil {
		return fmt.Errorf("device %s did not come back: %w", device, err)
	}
	s.tell("%s answers again %.1f s after that event", device, time.Since(allowed).Seconds())
	return nil
}

// access asks the operator to revoke or to allow a device's access, as fleetctl does,
// waits for its event, and gives the event's time by the log.
func (s *story) access(ctx context.Context, device, verb, reason string) (at time.Time, err error) {
	d, err := eventlog.NewDraft(eventlog.DeviceRequestSubject(userPerson, device), eventlog.RequestMade, time.Now(), eventlog.Request{Verb: verb, Reason: reason})
	if err != nil {
		return at, err
	}
	id := ulid.Make().String()
	if _, err := s.js.PublishMsg(ctx, d.Message("fleet-dev", id)); err != nil {
		return at, err
	}
	err = until(ctx, 30*time.Second, func(ctx context.Context) (bool, string, error) {
		for e, err := range reader.Read(ctx, s.js, reader.Options{Subjects: []string{eventlog.AccessSubject(device)}}) {
			if err != nil {
				return false, "", err
			}
			if e.CausationID == id {
				s.tell("%4d  %s  %s, by %s: %s", e.Sequence, e.Type, device, e.Actor, reason)
				at = e.Recorded
				return true, "", nil
			}
		}
		return false, "the operator has not answered the request", nil
	})
	return at, err
}

func (s *story) ping(ctx context.Context, device string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := s.js.Conn().RequestWithContext(ctx, eventlog.DeviceCommandSubject(device, eventlog.VerbPing), nil)
	return err
}

// stolenKey does what a thief could with one device's key: it speaks for that device,
// and for no other.
func (s *story) stolenKey(ctx context.Context) error {
	from, victim := s.devices[0], s.devices[len(s.devices)-1]
	if from == victim {
		victim += "-other" // a fleet of one device
	}
	thief, refused, err := s.connectAs(ctx, s.fleet.configs[from])
	if err != nil {
		return fmt.Errorf("with the key of %s: %w", from, err)
	}
	defer thief.Close()
	witness, err := s.js.Conn().SubscribeSync(">")
	if err != nil {
		return err
	}
	defer func() { _ = witness.Unsubscribe() }() // the connection may be gone
	said, err := json.Marshal(eventlog.Heartbeat{DeviceID: from, At: time.Now()})
	if err != nil {
		return err
	}
	publish := []string{
		eventlog.StateSubject(victim, s.name), eventlog.InfoSubject(victim), eventlog.AgentSubject(victim),
		eventlog.PulseSubject(victim), eventlog.SyncSubject(victim), eventlog.DeviceCommandSubject(victim, eventlog.VerbPing),
		eventlog.KVSubject(eventlog.BucketState, eventlog.StateKey(victim, s.name)), eventlog.KVSubject(eventlog.BucketInfo, eventlog.InfoKey(victim)),
		eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(victim, s.name)), eventlog.DesiredSubject(victim, s.name),
		eventlog.AccessSubject(victim),
	}
	subscribe := []string{
		eventlog.LiveSubject(victim, eventlog.Wildcard), eventlog.DeviceCommandSubject(victim, eventlog.Wildcard),
		eventlog.DeviceInboxSubjects(victim), eventlog.LogSubjects, ">",
	}
	for _, subject := range publish {
		if err := thief.Publish(subject, said); err != nil {
			return err
		}
	}
	for _, subject := range subscribe {
		if _, err := thief.SubscribeSync(subject); err != nil {
			return err
		}
	}
	if err := thief.FlushTimeout(10 * time.Second); err != nil {
		return err
	}
	want := int64(len(publish) + len(subscribe))
	err = until(ctx, 10*time.Second, func(context.Context) (bool, string, error) {
		return refused.Load() == want, fmt.Sprintf("the server refused %d of %d", refused.Load(), want), nil
	})
	if err != nil {
		return err
	}
	// What the thief may do arrives, so the witness would have heard the rest.
	if err := thief.Publish(eventlog.PulseSubject(from), said); err != nil {
		return err
	}
	for {
		m, err := witness.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("the thief's own pulse does not arrive: %w", err)
		}
		if !bytes.Equal(m.Data, said) {
			continue
		}
		if m.Subject != eventlog.PulseSubject(from) {
			return fmt.Errorf("the key of %s wrote on %s", from, m.Subject)
		}
		s.tell("with the key of %s: its own pulse is taken, and all %d tries at %s and at the log are refused", from, want, victim)
		return nil
	}
}

// connectAs connects with a device's key and counts what the server does not permit.
func (s *story) connectAs(ctx context.Context, c agent.Config) (*nats.Conn, *atomic.Int64, error) {
	credentials, err := identity.New(c, identity.Options{})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = credentials.Run(ctx) // it returns nil
	}()
	defer func() { cancel(); <-done }()
	select {
	case <-credentials.Changed():
	case <-ctx.Done():
		_, err := credentials.Show()
		return nil, nil, err
	}
	proof, err := credentials.Show()
	if err != nil {
		return nil, nil, err
	}
	var refused atomic.Int64
	nc, err := nats.Connect(s.fleet.Env.NATSURL, append(s.fleet.Env.NATSOptions(),
		nats.Token(proof.Token), nats.Name("thief"), nats.NoReconnect(), nats.Timeout(connectTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused.Add(1)
			}
		}))...)
	return nc, &refused, err
}
