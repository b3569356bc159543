package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// Self is who the servers say that a connection is.
type Self struct {
	User    string        `json:"user"` // empty where the servers ask nobody who they are
	Account string        `json:"account"`
	Expires time.Duration `json:"expires"` // until the server ends the connection; 0: never
	// Permissions are nil where the servers bound nothing.
	Permissions *Permissions `json:"permissions"`
}

// Permissions are the subjects on which the servers let a user publish.
type Permissions struct {
	Publish *struct {
		Allow []string `json:"allow"`
	} `json:"publish"`
}

// May says whether the servers let the user publish on a subject. It is for what can be done
// without: a question that is refused is an error of the whole connection. It is false where
// the servers did not say who this is.
func (s Self) May(subject string) bool {
	if s.Account == "" {
		return false
	}
	if s.Permissions == nil || s.Permissions.Publish == nil {
		return true
	}
	return slices.ContainsFunc(s.Permissions.Publish.Allow, func(filter string) bool { return eventlog.Covers(filter, subject) })
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
	if err := json.Unmarshal(m.Data, &said); err != nil || said.Data.User+said.Data.Account == "" { // who shows nothing to a server without passwords has no name
		return Self{}, fmt.Errorf("ask the server who this is: it answers %.200q", m.Data)
	}
	return said.Data, nil
}
