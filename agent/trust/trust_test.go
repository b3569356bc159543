package trust_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/agent/trust/trusttest"
)

// serve answers TLS handshakes on the loopback with a certificate for name.
func serve(t *testing.T, a *trusttest.Authority, name string, from, until time.Time) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.Sign(name, from, until)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = c.(*tls.Conn).Handshake()
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func dial(s *trust.Servers, address, name string) error {
	config := s.TLS()
	config.ServerName = name
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", address, config)
	if err == nil {
		c.Close()
	}
	return err
}

func TestADeviceWhoseClockIsBehindGetsInAtTheSecondTry(t *testing.T) {
	t.Parallel()
	today := time.Now()
	ours := trusttest.NewAuthority(t, today.AddDate(-5, 0, 0))
	address := serve(t, ours, "bus.example.org", today.AddDate(0, -1, 0), today.AddDate(0, 2, 0))
	expired := serve(t, ours, "bus.example.org", today.AddDate(-1, 0, 0), today.AddDate(0, -6, 0))
	forged := serve(t, trusttest.NewAuthority(t, today.AddDate(-5, 0, 0)), "bus.example.org", today.AddDate(0, -1, 0), today.AddDate(0, 2, 0))
	tests := map[string]struct {
		clock         time.Time
		known         time.Time
		address, name string
		learns, in    bool // from the first failure; at the second try
	}{
		"a clock that is right":                   {today, time.Time{}, address, "bus.example.org", false, true},
		"1970":                                    {time.Unix(60, 0), time.Time{}, address, "bus.example.org", true, true},
		"two years behind":                        {today.AddDate(-2, 0, 0), time.Time{}, address, "bus.example.org", true, true},
		"1970, and the time is known otherwise":   {time.Unix(60, 0), today, address, "bus.example.org", false, true},
		"1970, and another server answers":        {time.Unix(60, 0), time.Time{}, address, "other.example.org", true, false},
		"1970, and another CA signed":             {time.Unix(60, 0), time.Time{}, forged, "bus.example.org", false, false},
		"a certificate that has expired":          {today, time.Time{}, expired, "bus.example.org", false, false},
		"one that has expired, by what was known": {time.Unix(60, 0), today, expired, "bus.example.org", false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := &trust.Clock{System: func() time.Time { return tc.clock }}
			clock.AtLeast(tc.known)
			s, err := trust.New(clock, ours.File())
			if err != nil {
				t.Fatal(err)
			}
			err = dial(s, tc.address, tc.name)
			if got := err != nil && s.Learn(err); got != tc.learns {
				t.Errorf("it learned %v, want %v, from %v", got, tc.learns, err)
			}
			if err := dial(s, tc.address, tc.name); (err == nil) != tc.in {
				t.Errorf("the second try: %v, want in %v", err, tc.in)
			}
		})
	}
}

func TestNowFollowsTheProviderWhereTheClocksDiffer(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		ahead     time.Duration // of the provider
		corrected bool
	}{
		"it agrees":                {0, false},
		"it differs by a second":   {time.Second, false},
		"it is two seconds ahead":  {2 * time.Second, true},
		"it is two seconds behind": {-2 * time.Second, true},
		"it is decades ahead":      {50 * 365 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := start
			c := &trust.Clock{System: func() time.Time { return now }}
			if got := c.Heard(start.Add(tc.ahead), true); got != tc.corrected {
				t.Errorf("corrected %v, want %v", got, tc.corrected)
			}
			now = start.Add(time.Minute)
			want := now
			if tc.corrected {
				want = now.Add(tc.ahead)
			}
			if got := c.Now(); !got.Equal(want) {
				t.Errorf("now is %v, want %v", got, want)
			}
		})
	}
}

func TestTheTimeForCertificatesNeverGoesBackBelowWhatIsProven(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Int64Range(0, 4e9)
		now := time.Unix(seconds.Draw(t, "clock"), 0)
		c := &trust.Clock{System: func() time.Time { return now }}
		var proven time.Time
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			at := time.Unix(seconds.Draw(t, "time"), 0)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				now = at
			case 1:
				c.AtLeast(at)
				proven = later(proven, at)
			case 2:
				c.Heard(at, true)
				proven = later(proven, at)
			case 3:
				c.Heard(at, false) // plaintext proves nothing
			}
			if got, want := c.ForCertificates(), later(proven, now); !got.Equal(want) {
				t.Fatalf("certificates are judged at %v, want %v", got, want)
			}
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestACAFileWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.New(&trust.Clock{}, path); err == nil {
		t.Error("no error")
	}
	if _, err := trust.New(&trust.Clock{}, path+".none"); err == nil {
		t.Error("no error for a file that is not there")
	}
}
