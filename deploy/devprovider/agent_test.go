package devprovider_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/deploy/devprovider"
)

// The agent's own credentials get tokens here, and renew them.
func TestAnAgentGetsTokens(t *testing.T) {
	t.Parallel()
	w := start(t, devprovider.Options{TokenLifetime: 10 * time.Second, Lag: 500 * time.Millisecond})
	text, err := json.Marshal(w.key)
	w.must(err)
	c := config.Default()
	c.DeviceID = machine
	c.Auth = config.Auth{
		Mode: config.ModeZitadelJWT, Issuer: w.Issuer(), AllowPlaintext: true, ProjectID: project,
		KeyFile: filepath.Join(t.TempDir(), "zitadel-key.json"),
	}
	w.must(os.WriteFile(c.Auth.KeyFile, text, 0o600))
	credentials, err := identity.New(c, identity.Options{})
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- credentials.Run(ctx) }()
	for n := uint64(1); n <= 3; {
		select {
		case <-ctx.Done():
			t.Fatalf("no token %d", n)
		case <-credentials.Changed():
		}
		p, err := credentials.Show()
		w.must(err)
		if p.Number < n || claims(t, p.Token)["sub"] != machine {
			t.Errorf("proof %+v", p)
		}
		n = max(n, p.Number) + 1 // who looks late may see a later one
	}
	cancel()
	w.must(<-done)
}
