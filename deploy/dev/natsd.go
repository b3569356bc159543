package dev

import (
	"errors"
	"fmt"
	"time"

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
	opts.NoSigs, opts.LogFile, opts.Logtime = true, o.path("nats.log"), true
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(60 * time.Second) {
		s.Shutdown()
		return nil, errors.New("NATS server: not ready after 60 s; see " + opts.LogFile)
	}
	return s, nil
}
