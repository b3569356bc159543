package dev

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/logger"
	"github.com/nats-io/nats-server/v2/server"

	"fleet.nationtech.io/deploy/accounts"
)

// Users of the local fleet.
const (
	userOperator = "operator"
	userPerson   = "dev"
	userLab      = "lab"
	userSystem   = "sys"
)

// users are those of the servers' configuration. With AuthOIDC the devices are not
// among them.
func (r *runner) users() (accounts.Users, error) {
	names := accounts.Names{
		Operator: userOperator, System: userSystem, Lab: userLab, People: []string{userPerson}, Legacy: r.Legacy, Developers: true,
	}
	names.Callout = r.Auth == AuthOIDC
	if !names.Callout {
		names.Devices = ids(r.fleet.Devices)
	}
	users, err := accounts.LoadUsers(r.path("passwords.json"), names)
	if err != nil || users.Callout == nil {
		return users, err
	}
	users.Callout.Issuer, users.Callout.XKey, err = accounts.LoadCalloutKeys(r.DataDir)
	return users, err
}

func (r *runner) upNATS(ctx context.Context, remembered ports, users accounts.Users) error {
	s, err := r.startNATS(ctx, &remembered, users)
	if err != nil {
		return err
	}
	r.onDown(func() error { s.Shutdown(); s.WaitForShutdown(); return nil })
	if err := remembered.save(r.path("ports.json")); err != nil {
		return err
	}
	r.fleet.Env.NATSURL = "nats://" + loopback(remembered.NATS)
	if r.certificate != nil {
		r.fleet.Env.NATSURL, r.fleet.Env.NATSCA = "tls://"+loopback(remembered.NATS), r.ca.File()
		r.webSocketURL = "wss://" + loopback(remembered.WebSocket)
	}
	r.fleet.Env.User, r.fleet.Env.Password = userPerson, users.People[0].Password
	r.fleet.Env.LabUser, r.fleet.Env.LabPassword = userLab, users.Lab.Password
	r.say("NATS server     %s", strings.TrimSpace(r.fleet.Env.NATSURL+" "+r.webSocketURL))
	for _, l := range users.Legacy {
		r.say("older agent     %s may connect as user %s; its password is in %s", l.ID, accounts.LegacyUser(l.ID), r.path("passwords.json"))
	}
	return nil
}

// startNATS starts the server on the port that was asked for, the remembered one
// or a free one, and tries another where that is taken just then. With a certificate
// it serves WebSocket too.
func (r *runner) startNATS(ctx context.Context, p *ports, users accounts.Users) (s *server.Server, err error) {
	const tries = 5
	for try := 1; ; try++ {
		if p.NATS, err = pick(ctx, r.NATSPort, p.NATS); err != nil {
			return nil, fmt.Errorf("NATS server: %w", err)
		}
		conf := accounts.Server{Port: p.NATS, TLS: r.certificate}
		if conf.TLS != nil {
			if p.WebSocket, err = pick(ctx, 0, p.WebSocket); err != nil {
				return nil, fmt.Errorf("NATS server: WebSocket: %w", err)
			}
			conf.WebSocketPort = p.WebSocket
		}
		if s, err = startNATS(r.Options, conf, users); err == nil || !portWasTaken(err) || try == tries {
			return s, err
		}
	}
}

// startNATS runs a server in this process, with the accounts of a real fleet. conf
// says where it listens.
func startNATS(o Options, conf accounts.Server, users accounts.Users) (*server.Server, error) {
	conf.Name, conf.Host, conf.StoreDir = "fleet-dev", "127.0.0.1", o.path("nats")
	text, err := accounts.Render(users, accounts.RenderOptions{})
	if err != nil {
		return nil, err
	}
	opts, err := accounts.Parse(append(conf.Render(), text...))
	if err != nil {
		return nil, err
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS server: %w", err)
	}
	file := o.path("nats.log")
	log := &natsLog{Logger: logger.NewFileLogger(file, true, false, false, false), fatal: make(chan error, 1)}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	for deadline := time.Now().Add(natsReady); !s.ReadyForConnections(100 * time.Millisecond); {
		select {
		case err := <-log.fatal:
			s.Shutdown()
			return nil, fmt.Errorf("NATS server: %w; see %s", err, file)
		default:
		}
		if time.Now().After(deadline) {
			s.Shutdown()
			return nil, fmt.Errorf("NATS server: not ready after %s; see %s", natsReady, file)
		}
	}
	return s, nil
}

// natsReady bounds how long a server may read what it has stored.
const natsReady = 2 * time.Minute

// natsLog is the server's log. A server that cannot start would end the process
// there and then, with children left to themselves and not a word for the person.
type natsLog struct {
	*logger.Logger
	fatal chan error // the first
}

// Fatalf implements server.Logger.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.Errorf(format, v...)
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
	}
}

// portWasTaken says whether a server could not have its port: between its being
// found free and the server's taking it, which first reads what it has stored,
// anybody's connection may have begun there.
func portWasTaken(err error) bool {
	return strings.Contains(err.Error(), "Error listening on port") || strings.Contains(err.Error(), "Unable to listen for websocket connections")
}
