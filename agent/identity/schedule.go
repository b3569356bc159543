package identity

import (
	"errors"
	"net/http"
	"time"

	"fleet.nationtech.io/agent/openid"
)

// Times of Tokens.
const (
	renewAt      = 0.8  // of a token's life (ZITADEL.md, section 4)
	renewJitter  = 0.05 // of it, earlier, so that a fleet does not come at once
	minRenewal   = 200 * time.Millisecond
	freshKey     = time.Minute // for as long a provider may not know a key yet
	freshRetry   = 2 * time.Second
	slowRetry    = 2 * time.Minute // half of it more is random
	firstBackoff = time.Second
	maxBackoff   = time.Minute
	maxRefusal   = 10 * time.Minute
)

// outcome classes what came of asking for a token.
type outcome string

// The outcomes, which are values of a metric too.
const (
	// outcomeGranted: there is a new token.
	outcomeGranted outcome = "Granted"
	// outcomeNoKey: the key file is missing or cannot be used.
	outcomeNoKey outcome = "NoKey"
	// outcomeInvalidGrant: the provider does not know the key, or its user is
	// locked, deactivated or deleted.
	outcomeInvalidGrant outcome = "InvalidGrant"
	// outcomeMisconfigured: any other refusal, which lasts until a person mends it.
	outcomeMisconfigured outcome = "Misconfigured"
	// outcomeUnavailable: no answer, HTTP status 429 or 5xx, or server_error.
	outcomeUnavailable outcome = "Unavailable"
)

func classify(err error) outcome {
	var no *openid.Refusal
	switch {
	case err == nil:
		return outcomeGranted
	case !errors.As(err, &no), no.Status == http.StatusTooManyRequests, no.Status >= 500, no.Code == "server_error":
		return outcomeUnavailable
	case no.Code == "invalid_grant":
		return outcomeInvalidGrant
	}
	return outcomeMisconfigured
}

// attempt is what is known after asking for a token.
type attempt struct {
	outcome    outcome
	life       time.Duration // of the token that was granted
	keyAge     time.Duration // since the key file was written; negative where the clock went back
	failures   int           // in a row, this one included
	retryAfter time.Duration // as the provider asked
}

// fresh says whether the provider may not have seen the key yet.
func fresh(age time.Duration) bool { return age > -freshKey && age < freshKey }

// wait is how long to wait before the next attempt. random is in [0, 1).
func (a attempt) wait(random float64) time.Duration {
	switch {
	case a.outcome == outcomeGranted:
		return max(minRenewal, time.Duration((renewAt-renewJitter*random)*float64(a.life)))
	case a.outcome == outcomeInvalidGrant && fresh(a.keyAge):
		return freshRetry
	case a.outcome == outcomeInvalidGrant, a.outcome == outcomeMisconfigured:
		return slowRetry + time.Duration(random*float64(slowRetry))
	}
	// Full jitter: any moment up to a limit that doubles.
	limit := min(maxBackoff, firstBackoff<<min(max(0, a.failures-1), 10))
	return max(a.retryAfter, time.Duration(random*float64(limit)))
}

// refusedWait is how old a token that a server of the bus refused must be before
// another one is asked for. What the provider says of a new user takes seconds to
// be so; later a role may have been granted. refusals counts those in a row.
func refusedWait(keyAge time.Duration, refusals int, random float64) time.Duration {
	if fresh(keyAge) {
		return freshRetry
	}
	d := min(maxRefusal, time.Minute<<min(max(0, refusals-1), 6))
	return d/2 + time.Duration(random*float64(d/2))
}
