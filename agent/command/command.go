// Package command answers what is asked of the device over the bus.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

const (
	buffer  = 64 // commands that may wait
	maxSlow = 4  // commands that take their time, at once
)

// Options wire a Service. Device and Bus are required.
type Options struct {
	Device  string
	Version string
	// Invocation is systemd's id of this run; empty where systemd did not start it.
	Invocation string
	Bus        *bus.Bus
	Resync     func() // asks for the whole desired state; it does not wait
	// Key answers command key of a user, which may take a minute; nil where the device
	// has no key.
	Key func(ctx context.Context, user string, request []byte) eventlog.KeyAnswer

	Rejected *reject.Log
	Logger   *slog.Logger
	Clock    func() time.Time
}

// Pong is the answer to ping.
type Pong struct {
	DeviceID     string    `json:"device_id"`
	AgentVersion string    `json:"agent_version"`
	At           time.Time `json:"at"`
	// Invocation is systemd's id of this run of the agent. It tells this process from
	// one on another machine under the same id.
	Invocation string `json:"invocation,omitempty"`
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
	slow    sync.WaitGroup // commands that take their time
	slots   chan struct{}  // one for each of them
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
	return &Service{options: o, slots: make(chan struct{}, maxSlow)}, nil
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
	defer s.slow.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-commands:
			s.take(ctx, h)
		}
	}
}

// take answers a command, and lets go of the connection that heard it.
func (s *Service) take(ctx context.Context, h heard) {
	m := h.msg
	info, reason, why := verify(m)
	if reason != "" {
		s.options.Rejected.Message(reason, m.Subject, why)
		h.release()
		return
	}
	if !s.once.First(m.Subject, m.Reply) {
		h.release()
		return
	}
	_, verb, _ := eventlog.ParseDeviceCommand(m.Subject)
	s.options.Logger.Debug("command", "verb", verb, "user", info.User)
	if verb == eventlog.VerbKey && info.Account != eventlog.AccountFleet {
		// The answer holds an assertion by which a token of the device can be got.
		s.respond(m, verb, Failure{Error: "command key is for admins: log in as one, who is in account " + eventlog.AccountFleet})
		h.release()
		return
	}
	if verb != eventlog.VerbKey || s.options.Key == nil {
		s.respond(m, verb, s.answer(verb))
		h.release()
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.respond(m, verb, Failure{Error: "this device is at work on other commands: ask again in a minute"})
		h.release()
		return
	}
	s.slow.Go(func() {
		defer h.release()
		defer func() { <-s.slots }()
		s.respond(m, verb, s.options.Key(ctx, info.User, m.Data))
	})
}

func (s *Service) respond(m *nats.Msg, verb string, v any) {
	answer, err := json.Marshal(v)
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
		return Pong{DeviceID: o.Device, AgentVersion: o.Version, At: o.Clock().UTC(), Invocation: o.Invocation}
	case eventlog.VerbSync:
		o.Resync()
		return Syncing{DeviceID: o.Device, At: o.Clock().UTC()}
	}
	if verb == eventlog.VerbKey {
		return Failure{Error: "this device has no key: it proves who it is by a user and a password (auth.mode is not zitadel-jwt). To give it a key, enrol it again with --auth zitadel"}
	}
	return Failure{Error: fmt.Sprintf("%.80q is no command of this agent, which knows %s, %s and %s", verb, eventlog.VerbPing, eventlog.VerbSync, eventlog.VerbKey)}
}
