// Package identity_test lets whole agents in by their keys: the development provider
// gives them tokens, the auth callout judges them, real servers let them in. It
// replaces keys, certificates and issuers under them.
package identity_test

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/devprovider"
)

// A device comes in by its key, and over three rollovers no ping is lost, though no
// operator answers a sync.
func TestAnAgentComesInByItsKeyAndStaysOverManyTokens(t *testing.T) {
	t.Parallel()
	w := start(t, 20*time.Second)
	registry := w.enrol(device, devprovider.JWT)
	w.await("the device answers", func() bool { return w.ping(device, time.Second) })
	pings, slowest := 0, time.Duration(0)
	w.await("three rollovers", func() bool {
		began := time.Now()
		if !w.ping(device, 20*time.Second) {
			t.Errorf("ping %d is lost", pings)
		}
		pings++
		slowest = max(slowest, time.Since(began))
		return rollovers(t, registry) >= 3
	})
	t.Logf("%d pings over three rollovers, the slowest %v", pings, slowest)
	if strings.Contains(w.log.String(), "NATS is unreachable") {
		t.Errorf("the connection was lost:\n%s", w.log.String())
	}
}

// A machine user that was left at the default has opaque tokens. The device says
// so in its log, and comes in soon after that was mended.
func TestADeviceThatIsRefusedSaysWhyAndComesInOnceThatIsMended(t *testing.T) {
	t.Parallel()
	w := start(t, time.Hour)
	w.enrol(device, devprovider.Opaque)
	w.await("the reason in the device's log", func() bool {
		return strings.Contains(w.log.String(), "NATS refuses this device") && strings.Contains(w.log.String(), "accessTokenType ACCESS_TOKEN_TYPE_JWT")
	})
	w.must(w.provider.SetTokenType(device, devprovider.JWT))
	w.await("the device answers", func() bool { return w.ping(device, 100*time.Millisecond) })
}
