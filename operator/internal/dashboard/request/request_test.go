package request_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/request"
	"fleet.nationtech.io/projections/fleet"
)

// Once a request went out, only the servers' own word says that it is not in the log. Whatever else
// comes instead of an acknowledgement leaves that open.
func TestARequestWithoutAnAcknowledgementIsUncertain(t *testing.T) {
	t.Parallel()
	about := model.Subject{Kind: model.OfRollout, Key: fleet.Key{Namespace: "shop", Name: "web"}}
	for name, tt := range map[string]struct {
		before    func(p *nats.Conn)
		answer    func(p *nats.Conn, cancel context.CancelFunc, m *nats.Msg) // nil: nobody listens
		uncertain bool
	}{
		"the connection ended before": {before: (*nats.Conn).Close},
		"nobody stores requests":      {},
		"the servers decline it": {answer: func(_ *nats.Conn, _ context.CancelFunc, m *nats.Msg) {
			_ = m.Respond([]byte(`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`))
		}},
		"the servers are storing one with its token": {uncertain: true, answer: func(_ *nats.Conn, _ context.CancelFunc, m *nats.Msg) {
			_ = m.Respond([]byte(`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}`))
		}},
		"the connection ends":                {uncertain: true, answer: func(p *nats.Conn, _ context.CancelFunc, _ *nats.Msg) { p.Close() }},
		"the person goes away":               {uncertain: true, answer: func(_ *nats.Conn, cancel context.CancelFunc, _ *nats.Msg) { cancel() }},
		"the acknowledgement makes no sense": {uncertain: true, answer: func(_ *nats.Conn, _ context.CancelFunc, m *nats.Msg) { _ = m.Respond([]byte("?")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t)
			stream, _ := server.Connect(t)
			conn, _ := server.Connect(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.answer != nil {
				if _, err := stream.Subscribe(eventlog.FamilySubjects(eventlog.FamilyRequest), func(m *nats.Msg) { tt.answer(conn, cancel, m) }); err != nil {
					t.Fatal(err)
				}
				if err := stream.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if tt.before != nil {
				tt.before(conn)
			}
			ann := &person.Person{Actor: "ann", Connection: conn, Publish: []string{">"}}
			_, err := request.Append(ctx, ann, about, "0123456789abcdef", eventlog.Request{Verb: eventlog.RequestPause}, time.Now())
			if err == nil || errors.Is(err, request.ErrUncertain) != tt.uncertain {
				t.Errorf("the error is %v; uncertain: want %v", err, tt.uncertain)
			}
		})
	}
}
