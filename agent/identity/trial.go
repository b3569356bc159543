package identity

import (
	"context"
	"fmt"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
)

// Trial asks the provider for a token by a key that the device does not use yet. It is
// for one goroutine.
type Trial struct {
	provider *openid.Provider
	scopes   []string
}

// NewTrial wires a trial. It reads the provider's CA file.
func NewTrial(c config.Config, clock *trust.Clock) (*Trial, error) {
	servers, err := trust.Beside(clock, c.Auth.CAFile)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return &Trial{
		provider: openid.New(openid.Options{Issuer: c.Auth.Issuer, Clock: clock, Servers: servers}),
		scopes:   openid.Scopes(c.Auth.ProjectID, c.Auth.Scopes...),
	}, nil
}

// Try asks for one token, and drops it.
func (t *Trial) Try(ctx context.Context, k *openid.Key) error {
	_, err := t.provider.ByKey(ctx, k, t.scopes)
	return err
}
