package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// Self is who the servers say that a connection is.
type Self struct {
	User    string        `json:"user"`
	Account string        `json:"account"`
	Expires time.Duration `json:"expires"` // until the server ends the connection; 0: never
}

const selfTimeout = 2 * time.Second

// errOthersInbox says that the connection may not hear answers where it asked for
// them: it is another user than was guessed.
var errOthersInbox = errors.New("the servers refuse the inbox of this user")

// askSelf asks the server whose the connection is. It fails with errOthersInbox;
// with nats.ErrPermissionViolation where the user may not ask; with nats.ErrNoResponders
// where the servers have no system account. violated receives what the server refuses.
func askSelf(nc *nats.Conn, violated <-chan error) (Self, error) {
	ctx, cancel := context.WithTimeout(context.Background(), selfTimeout)
	defer cancel()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return Self{}, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(eventlog.UserInfoAPI, inbox, nil); err != nil {
		return Self{}, err
	}
	type answer struct {
		m   *nats.Msg
		err error
	}
	heard := make(chan answer, 1)
	go func() {
		m, err := sub.NextMsgWithContext(ctx)
		heard <- answer{m, err}
	}()
	for {
		select {
		case err := <-violated:
			switch {
			case strings.Contains(err.Error(), inbox):
				return Self{}, errOthersInbox
			case strings.Contains(err.Error(), eventlog.UserInfoAPI):
				return Self{}, err
			}
		case a := <-heard:
			return readSelf(a.m, a.err)
		}
	}
}

func readSelf(m *nats.Msg, err error) (Self, error) {
	if err != nil {
		return Self{}, fmt.Errorf("ask the server who this is: %w", err)
	}
	const noResponders = "503"
	if m.Header.Get("Status") == noResponders {
		return Self{}, nats.ErrNoResponders
	}
	var said struct {
		Data Self `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &said); err != nil || said.Data.User == "" {
		return Self{}, fmt.Errorf("ask the server who this is: it answers %.200q", m.Data)
	}
	return said.Data, nil
}
