package identity

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/openid"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want outcome
	}{
		"a token":                  {nil, outcomeGranted},
		"no network":               {errors.New("no route to host"), outcomeUnavailable},
		"an unknown key":           {&openid.Refusal{Status: 400, Code: "invalid_grant"}, outcomeInvalidGrant},
		"an unknown scope":         {&openid.Refusal{Status: 400, Code: "invalid_scope"}, outcomeMisconfigured},
		"a bad assertion":          {&openid.Refusal{Status: 400, Code: "invalid_request"}, outcomeMisconfigured},
		"an action that throws":    {&openid.Refusal{Status: 400, Code: "server_error"}, outcomeUnavailable},
		"too many requests":        {&openid.Refusal{Status: 429}, outcomeUnavailable},
		"a proxy without upstream": {&openid.Refusal{Status: 502}, outcomeUnavailable},
		"instance not found":       {&openid.Refusal{Status: 404}, outcomeMisconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := classify(tc.err); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a         attempt
		low, high time.Duration // over all of chance
	}{
		"a token of twelve hours":                   {attempt{outcome: outcomeGranted, life: 12 * time.Hour}, 9 * time.Hour, 576 * time.Minute},
		"a token of fifteen minutes":                {attempt{outcome: outcomeGranted, life: 15 * time.Minute}, 675 * time.Second, 12 * time.Minute},
		"an unknown key, just written":              {attempt{outcome: outcomeInvalidGrant, keyAge: 59 * time.Second, failures: 20}, 2 * time.Second, 2 * time.Second},
		"an unknown key, a minute old":              {attempt{outcome: outcomeInvalidGrant, keyAge: time.Minute, failures: 1}, 2 * time.Minute, 4 * time.Minute},
		"an unknown key, from before the clock":     {attempt{outcome: outcomeInvalidGrant, keyAge: -50 * 365 * 24 * time.Hour}, 2 * time.Minute, 4 * time.Minute},
		"a configuration that is refused":           {attempt{outcome: outcomeMisconfigured, keyAge: time.Second}, 2 * time.Minute, 4 * time.Minute},
		"no network, the first time":                {attempt{outcome: outcomeUnavailable, failures: 1}, 0, time.Second},
		"no network, the fourth time":               {attempt{outcome: outcomeUnavailable, failures: 4}, 0, 8 * time.Second},
		"no network, for long":                      {attempt{outcome: outcomeUnavailable, failures: 400}, 0, time.Minute},
		"no network, and the provider asks to wait": {attempt{outcome: outcomeUnavailable, failures: 1, retryAfter: 30 * time.Second}, 30 * time.Second, 30 * time.Second},
		"no key file":                               {attempt{outcome: outcomeNoKey, failures: 2}, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.a.wait(0); min(got, tc.a.wait(0.999999)) != got && tc.a.outcome != outcomeGranted {
				t.Errorf("more chance waits less")
			}
			near := func(got, want time.Duration) bool { return (got - want).Abs() <= want/1000 }
			low, high := min(tc.a.wait(0), tc.a.wait(0.999999)), max(tc.a.wait(0), tc.a.wait(0.999999))
			if !near(low, tc.low) || !near(high, tc.high) {
				t.Errorf("it waits %v to %v, want %v to %v", low, high, tc.low, tc.high)
			}
		})
	}
}

func TestATokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(time.Second), int64(maxTokenLease)).Draw(t, "life"))
		random := rapid.Float64Range(0, 0.9999).Draw(t, "random")
		got := attempt{outcome: outcomeGranted, life: life}.wait(random)
		if got <= 0 || got >= life/100*81 {
			t.Fatalf("a token of %v is renewed after %v", life, got)
		}
	})
}
