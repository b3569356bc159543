package agent

import (
	"context"
	"log/slog"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/keyfile"
	"fleet.nationtech.io/agent/rotation"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
)

// keyCommand is what answers command key; nil for a device that has no key.
func keyCommand(c config.Config, clock *trust.Clock, credentials identity.Credentials, log *slog.Logger) (func(context.Context, string, []byte) eventlog.KeyAnswer, error) {
	if c.Auth.Mode != config.ModeZitadelJWT {
		return nil, nil
	}
	trial, err := identity.NewTrial(c, clock)
	if err != nil {
		return nil, err
	}
	r, err := rotation.New(rotation.Options{
		Device: c.DeviceID, Issuer: c.Auth.Issuer, File: keyfile.At(c.Auth.KeyFile), Trial: trial, Now: clock.Now,
		// The next token is asked for by the new key, before the former one is removed.
		Adopted: credentials.Renew, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return r.Answer, nil
}
