// Package identity proves to the bus who the device is: by a user with a
// password, or by a token that it gets from an OpenID provider with its key.
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

// Proof is what the device shows to a server of the bus.
type Proof struct {
	User     string
	Password string
	Token    string
	// Number rises by one with each new proof.
	Number uint64
	// Ends is when the server ends a connection that showed it; zero: never.
	Ends time.Time
}

// Credentials have the proof at hand. Show never waits: the NATS client asks for
// it while the server's authorization timeout runs and while its own lock is held.
type Credentials interface {
	// Show gives the newest proof, or says why there is none.
	Show() (Proof, error)
	// Changed has one element after there is a new proof. It is for one reader.
	Changed() <-chan struct{}
	// Accepted and Refused tell what a server did with a proof. They do not wait.
	Accepted(Proof)
	Refused(Proof)
	// KeyEnds is when the provider lets the device's key end; zero where there is no
	// key, or its file does not say. It reads the file.
	KeyEnds() time.Time
	// KeyChanged has one element after another key was used. It is for one reader.
	KeyChanged() <-chan struct{}
	// Renew asks for a new proof at once. It does not wait.
	Renew()
	// Run keeps the proof new until the context ends; then it returns nil.
	Run(context.Context) error
}

// Options wire credentials. All may be left out.
type Options struct {
	Clock      *trust.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// New gives the credentials that the configuration names. It reads the
// provider's CA file, and not the key: a device may be enrolled while its agent
// runs already.
func New(c config.Config, o Options) (Credentials, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = &trust.Clock{}
	}
	switch c.Auth.Mode {
	case config.ModeShared:
		return &Shared{proof: Proof{User: c.Auth.User, Password: c.Auth.Password, Number: 1}}, nil
	case config.ModeZitadelJWT:
		servers, err := trust.Beside(o.Clock, c.Auth.CAFile)
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		return newTokens(c, o, openid.New(openid.Options{Issuer: c.Auth.Issuer, Clock: o.Clock, Servers: servers}))
	}
	return nil, fmt.Errorf("auth.mode %q is unknown", c.Auth.Mode)
}

// Shared is a user with a password.
type Shared struct {
	proof Proof
}

var _ Credentials = (*Shared)(nil)

// Show implements Credentials.
func (s *Shared) Show() (Proof, error) { return s.proof, nil }

// Changed implements Credentials: a password never changes.
func (s *Shared) Changed() <-chan struct{} { return nil }

// Accepted implements Credentials.
func (s *Shared) Accepted(Proof) {}

// Refused implements Credentials. The connection logs each refusal itself.
func (s *Shared) Refused(Proof) {}

// KeyEnds implements Credentials: there is no key.
func (s *Shared) KeyEnds() time.Time { return time.Time{} }

// KeyChanged implements Credentials.
func (s *Shared) KeyChanged() <-chan struct{} { return nil }

// Renew implements Credentials: there is nothing to renew.
func (s *Shared) Renew() {}

// Run implements Credentials.
func (s *Shared) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// ErrNoToken says that the device has no token that still holds.
var ErrNoToken = errors.New("the device has no valid token")
