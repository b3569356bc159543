package dev

import (
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

// startNATS runs a server in this process, with the accounts of a real fleet.
func startNATS(o Options, port int, users accounts.Users) (*server.Server, error) {
	conf := accounts.Server{Name: "fleet-dev", Host: "127.0.0.1", Port: port, StoreDir: o.path("nats")}
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
func portWasTaken(err error) bool { return strings.Contains(err.Error(), "Error listening on port") }
