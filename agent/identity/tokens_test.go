package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog/testlog"
)

// desk is a provider of the test's own.
type desk struct {
	begin time.Time
	say   func(n int) (openid.Grant, error)

	mu    sync.Mutex
	times []time.Duration // of the requests, since the beginning
}

func (d *desk) ByKey(context.Context, *openid.Key, []string) (openid.Grant, error) {
	d.mu.Lock()
	d.times = append(d.times, time.Since(d.begin))
	n := len(d.times)
	d.mu.Unlock()
	return d.say(n)
}

// asked is how often it was asked for a token.
func (d *desk) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.times)
}

func signedFor(project string) string {
	t, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://auth.example.org", "sub": "pi-01", "aud": project, "exp": time.Now().Add(time.Hour).Unix(),
		"urn:zitadel:iam:user:resourceowner:id": "3000",
	}).SignedString(private())
	if err != nil {
		panic(err)
	}
	return t
}

// tokens begins with a desk; the key file was written keyAge ago.
func tokens(t *testing.T, keyAge time.Duration, log *testlog.Buffer, say func(n int) (openid.Grant, error)) (*Tokens, *desk) {
	t.Helper()
	c := config.Default()
	c.DeviceID = "pi-01"
	c.Auth = config.Auth{Mode: config.ModeZitadelJWT, KeyFile: writeKey(t, t.TempDir()), Issuer: "https://auth.example.org", ProjectID: "3012"}
	written := time.Now().Add(-keyAge)
	if err := os.Chtimes(c.Auth.KeyFile, written, written); err != nil {
		t.Fatal(err)
	}
	d := &desk{begin: time.Now(), say: say}
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, nil))
	}
	k, err := newTokens(c, Options{Clock: &trust.Clock{}, Logger: logger}, d)
	if err != nil {
		t.Fatal(err)
	}
	k.random = func() float64 { return 0.5 }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k, d
}

func (d *desk) seconds() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, a := range d.times {
		all = append(all, fmt.Sprintf("%.3g", a.Seconds()))
	}
	return strings.Join(all, " ")
}

func TestATokenIsShownAtOnceAndRenewedBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		asked := make(chan struct{})
		k, d := tokens(t, time.Hour, nil, func(n int) (openid.Grant, error) {
			switch n {
			case 1:
				<-asked
			case 2:
				time.Sleep(30 * time.Second) // a slow provider delays no login
			}
			return openid.Grant{Token: fmt.Sprintf("token-%d", n), Life: 1000 * time.Second}, nil
		})
		if _, err := k.Show(); !errors.Is(err, ErrNoToken) {
			t.Errorf("before the first token: %v", err)
		}
		close(asked)
		synctest.Wait()
		<-k.Changed()
		first, err := k.Show()
		if err != nil || first.Token != "token-1" || first.Number != 1 {
			t.Errorf("the first: %+v, %v", first, err)
		}
		time.Sleep(790 * time.Second) // in the middle of the second request, which began at 77.5 %
		synctest.Wait()
		at := time.Now()
		if p, err := k.Show(); err != nil || p != first || time.Since(at) != 0 {
			t.Errorf("while the provider is asked: %+v, %v", p, err)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		<-k.Changed()
		if p, err := k.Show(); err != nil || p.Token != "token-2" || p.Number != 2 {
			t.Errorf("the second: %+v, %v", p, err)
		}
		if got := d.seconds(); got != "0 775" {
			t.Errorf("asked after seconds %s", got)
		}
	})
}

func TestTheOldTokenIsShownWhileTheProviderIsAwayAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		k, d := tokens(t, time.Hour, nil, func(n int) (openid.Grant, error) {
			if n == 1 {
				return openid.Grant{Token: "token", Life: 1000 * time.Second}, nil
			}
			return openid.Grant{}, errors.New("no route to host")
		})
		time.Sleep(999 * time.Second)
		synctest.Wait()
		if p, err := k.Show(); err != nil || p.Token != "token" {
			t.Errorf("a second before its end: %+v, %v", p, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := k.Show(); !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("at its end: %v", err)
		}
		// Half of a limit that doubles from a second to a minute.
		want := "0 775 776 776 778 782 790 806 836"
		if got := d.seconds(); !strings.HasPrefix(got, want) {
			t.Errorf("asked after seconds %s, want %s …", got, want)
		}
	})
}

func TestAKeyThatWasJustWrittenIsTriedEachTwoSecondsForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		_, d := tokens(t, 50*time.Second, nil, func(int) (openid.Grant, error) {
			return openid.Grant{}, &openid.Refusal{Status: 400, Code: "invalid_grant"}
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, want := d.seconds(), "0 2 4 6 8 10 190 370 550"; got != want {
			t.Errorf("asked after seconds %s, want %s", got, want)
		}
	})
}

func TestANewKeyIsUsedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		k, d := tokens(t, time.Hour, nil, func(n int) (openid.Grant, error) {
			if n == 1 {
				return openid.Grant{}, &openid.Refusal{Status: 400, Code: "invalid_grant"}
			}
			return openid.Grant{Token: "token", Life: time.Hour}, nil
		})
		time.Sleep(9 * time.Second)
		now := time.Now()
		if err := os.Chtimes(k.keyFile, now, now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, want := d.seconds(), "0 10"; got != want {
			t.Errorf("asked after seconds %s, want %s", got, want)
		}
	})
}

func TestADeviceEnrolledLaterGetsInWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		var log testlog.Buffer
		k, d := tokens(t, time.Hour, &log, func(int) (openid.Grant, error) { return openid.Grant{Token: "token", Life: time.Hour}, nil })
		synctest.Wait()
		path := k.keyFile
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second) // the first renewal finds no key
		synctest.Wait()
		if !strings.Contains(log.String(), "enrol this device") {
			t.Errorf("the log does not say what is missing: %s", log.String())
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, err := k.Show(); err != nil || d.asked() != 2 {
			t.Errorf("after the key came: %v, asked %d times", err, d.asked())
		}
	})
}

func TestARefusedDeviceSaysWhyAndAsksForAnotherToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		var log testlog.Buffer
		k, d := tokens(t, time.Hour, &log, func(n int) (openid.Grant, error) {
			return openid.Grant{Token: signedFor("9"), Life: 12 * time.Hour}, nil
		})
		for range 40 { // each reconnect is refused
			synctest.Wait()
			if p, err := k.Show(); err == nil {
				k.Refused(p)
			}
			time.Sleep(15 * time.Second)
		}
		if n := strings.Count(log.String(), "correct auth.project_id"); n != d.asked() {
			t.Errorf("it says %d times why %d tokens are refused: %s", n, d.asked(), log.String())
		}
		// Three quarters of a limit that doubles from a minute on.
		if got, want := d.seconds(), "0 45 135 315"; got != want {
			t.Errorf("asked after seconds %s, want %s", got, want)
		}
		p, _ := k.Show()
		k.Accepted(p)
		k.Refused(Proof{Number: 1}) // an old one tells nothing
		time.Sleep(time.Minute)
		synctest.Wait()
		if d.asked() != 4 {
			t.Errorf("asked after seconds %s", d.seconds())
		}
	})
}

func TestARefusalRightAfterEnrolmentIsMendedInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private()
		k, d := tokens(t, 0, nil, func(int) (openid.Grant, error) {
			return openid.Grant{Token: signedFor("3012"), Life: 12 * time.Hour}, nil
		})
		for range 9 {
			synctest.Wait()
			p, err := k.Show()
			if err != nil {
				t.Fatal(err)
			}
			k.Refused(p)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got, want := d.seconds(), "0 2 4 6 8"; got != want {
			t.Errorf("asked after seconds %s, want %s", got, want)
		}
	})
}
