// Package devprovidertest runs the development provider for tests.
package devprovidertest

import (
	"context"
	"testing"

	"fleet.nationtech.io/deploy/devprovider"
)

// Start runs a provider that knows what its options say. It ends with the test.
func Start(t testing.TB, o devprovider.Options) *devprovider.Provider {
	t.Helper()
	p, err := devprovider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the development provider: %v", err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-done:
		done <- err
		t.FailNow()
	}
	return p
}
