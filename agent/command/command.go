// Package command answers what is asked of the device over the bus.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/reject"
	"fleet.nationtech.io/eventlog"
)

// Reasons for which a command is not believed. Any device can aim the answers to
// its own questions at this one's command subjects; but such an answer has no
// reply subject, or not the server's own word that it comes from the fleet.
const (
	ReasonNoReply       = "CommandWithoutReply"
	ReasonNoRequestInfo = "CommandWithoutRequestInfo"
	ReasonOtherAccount  = "CommandFromOtherAccount"
	ReasonNoClient      = "CommandFromNoClient"
)

const buffer = 64 // commands that may wait

// Options wire a Service. Device and Bus are required.
type Options struct {
	Device  string
	Version string
	Bus     *bus.Bus
	Resync  func() // asks for the whole desired state; it does not wait

	Rejected *reject.Log
	Logger   *slog.Logger
	Clock    func() time.Time
}

// Pong is the answer to ping.
type Pong struct {
	DeviceID     string    `json:"device_id"`
	AgentVersion string    `json:"agent_version"`
	At           time.Time `json:"at"`
}

// Syncing is the answer to sync: the device has begun to ask.
type Syncing struct {
	DeviceID string    `json:"device_id"`
	At       time.Time `json:"at"`
}

// Failure is the answer to what cannot be done.
type Failure struct {
	Error string `json:"error"`
}

// Service answers the commands of one device.
type Service struct {
	options Options
	once    bus.Once
}

// New wires a service. It fails where something required is missing.
func New(o Options) (*Service, error) {
	if o.Device == "" || o.Bus == nil {
		return nil, errors.New("a command service needs a device and a bus")
	}
	if o.Resync == nil {
		o.Resync = func() {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Service{options: o}, nil
}

// heard is a command, and what lets go of the connection that heard it.
type heard struct {
	msg     *nats.Msg
	release func()
}

// Run answers until the context ends; then it returns nil. A command that two
// connections hear is answered once, on the one that heard it first.
func (s *Service) Run(ctx context.Context) error {
	subject := eventlog.DeviceCommandSubject(s.options.Device, eventlog.Wildcard)
	commands := make(chan heard)
	ended := make(chan struct{})
	defer close(ended)
	leave, err := s.options.Bus.Add(bus.Part{Join: func(l *bus.Link) error {
		_, err := l.Subscribe(subject, buffer, func(m *nats.Msg) {
			h := heard{msg: m, release: l.Hold()}
			select {
			case <-ended:
				h.release()
			case commands <- h:
			}
		})
		return err
	}})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	defer leave()
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-commands:
			s.take(h.msg)
			h.release()
		}
	}
}

func (s *Service) take(m *nats.Msg) {
	info, reason, why := verify(m)
	if reason != "" {
		s.options.Rejected.Message(reason, m.Subject, why)
		return
	}
	if !s.once.First(m.Subject, m.Reply) {
		return
	}
	_, verb, _ := eventlog.ParseDeviceCommand(m.Subject)
	s.options.Logger.Debug("command", "verb", verb, "user", info.User)
	answer, err := json.Marshal(s.answer(verb))
	if err != nil {
		s.options.Logger.Error("cannot encode an answer", "verb", verb, "error", err)
		return
	}
	if err := m.Respond(answer); err != nil {
		s.options.Logger.Warn("cannot answer a command", "verb", verb, "error", err)
	}
}

// verify says who sent a command, or why it is none.
func verify(m *nats.Msg) (info eventlog.RequestInfo, reason, why string) {
	if m.Reply == "" {
		return info, ReasonNoReply, "it has no reply subject"
	}
	info, err := eventlog.RequestInfoOf(m.Header)
	if err != nil {
		return info, ReasonNoRequestInfo, err.Error()
	}
	if info.Account != eventlog.AccountFleet && info.Account != eventlog.AccountPeople {
		return info, ReasonOtherAccount, fmt.Sprintf("it comes from account %.80q", info.Account)
	}
	// A consumer of the log delivers where its maker wants, and has neither.
	if info.Kind != eventlog.KindClient || info.User == "" {
		return info, ReasonNoClient, fmt.Sprintf("kind %.80q with user %.80q sent it, and not a client", info.Kind, info.User)
	}
	return info, "", ""
}

func (s *Service) answer(verb string) any {
	o := s.options
	switch verb {
	case eventlog.VerbPing:
		return Pong{DeviceID: o.Device, AgentVersion: o.Version, At: o.Clock().UTC()}
	case eventlog.VerbSync:
		o.Resync()
		return Syncing{DeviceID: o.Device, At: o.Clock().UTC()}
	}
	return Failure{Error: fmt.Sprintf("%.80q is no command of this agent, which knows %s and %s", verb, eventlog.VerbPing, eventlog.VerbSync)}
}
