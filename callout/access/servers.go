package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
)

// connzRequest asks for connections (nats-server, ConnzEventOptions).
type connzRequest struct {
	Account string `json:"acc"`
	User    string `json:"user,omitempty"`
	Auth    bool   `json:"auth"` // answer with the users' names
	Limit   int    `json:"limit"`
	Offset  int    `json:"offset"`
}

type connzAnswer struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Total       int `json:"total"`
		Connections []struct {
			ID    uint64    `json:"cid"`
			Start time.Time `json:"start"`
			User  string    `json:"authorized_user"`
		} `json:"connections"`
	} `json:"data"`
}

// ask gives the connections of identities that servers name, of one user or of all,
// page by page.
func (c *Connections) ask(ctx context.Context, user string) ([]connection, error) {
	var found []connection
	for offset, more := 0, true; more; offset += connzPage {
		answers, err := c.askPage(ctx, user, offset)
		if err != nil {
			return found, err
		}
		more = false
		for _, a := range answers {
			more = more || a.Data.Total > offset+connzPage
			for _, n := range a.Data.Connections {
				if _, ok := subjectOf(n.User); ok {
					found = append(found, connection{server: a.Server.ID, id: n.ID, actor: n.User, began: n.Start})
				}
			}
		}
	}
	return found, nil
}

// askPage asks about all accounts at once and takes answers until a silence.
func (c *Connections) askPage(ctx context.Context, user string, offset int) ([]connzAnswer, error) {
	nc := c.options.Conn
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails on a closed connection, which takes nothing either
	for _, account := range c.options.Accounts {
		body, err := json.Marshal(connzRequest{Account: account, User: user, Auth: true, Limit: connzPage, Offset: offset})
		if err != nil {
			return nil, err
		}
		if err := nc.PublishRequest(eventlog.ConnectionsSubject, inbox, body); err != nil {
			return nil, err
		}
	}
	var answers []connzAnswer
	for {
		bounded, cancel := context.WithTimeout(ctx, answersEnd)
		m, err := sub.NextMsgWithContext(bounded)
		cancel()
		if err != nil {
			if len(answers) == 0 {
				return nil, fmt.Errorf("no server answered: %w", err)
			}
			return answers, ctx.Err()
		}
		var a connzAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return answers, fmt.Errorf("an answer cannot be read: %w", err)
		}
		answers = append(answers, a)
	}
}
