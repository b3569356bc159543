package responder

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
)

// hanging is a decider whose provider never answers about the token "wait".
type hanging struct{}

func (hanging) Decide(l Login) (callout.Grant, error) {
	if l.Token == "wait" {
		return callout.Grant{}, ErrLater
	}
	return callout.NewGrant(identity.Identity{Kind: identity.Device, ID: l.Token}, nil, time.Now().Add(time.Hour))
}

func (hanging) Resolve(ctx context.Context, _ Login) (callout.Grant, error) {
	<-ctx.Done()
	return callout.Grant{}, refusal.New(refusal.ProviderUnavailable, "the provider hangs")
}

func TestWhoWaitsForTheProviderHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	_, issuer, seed := create(t, nkeys.CreateAccount)
	server, id, _ := create(t, nkeys.CreateServer)
	_, user, _ := create(t, nkeys.CreateUser)
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Options{Keys: Keys{Issuers: [][]byte{seed}}, AllowPlain: true, Decider: hanging{}, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go r.work(ctx, r.decision, r.decide)
		for range r.options.Waiters {
			go r.work(ctx, r.provider, r.resolve)
		}
		ask := func(token string) (answer chan *jwt.AuthorizationResponseClaims) {
			q := jwt.NewAuthorizationRequestClaims(issuer)
			q.Audience, q.UserNkey, q.Server.ID, q.ConnectOptions.Token = requestAudience, user, id, token
			q.Expires = time.Now().Add(2 * time.Second).Unix()
			text, err := q.Encode(server)
			if err != nil {
				t.Fatal(err)
			}
			answer = make(chan *jwt.AuthorizationResponseClaims, 1)
			r.decision.push(&job{data: []byte(text), arrived: time.Now(), respond: func(b []byte) error {
				a, err := jwt.DecodeAuthorizationResponseClaims(string(b))
				answer <- a
				return err
			}})
			return answer
		}
		const waiting = 2 * defaultWaiters
		waits := make([]chan *jwt.AuthorizationResponseClaims, waiting)
		for i := range waits {
			waits[i] = ask("wait")
		}
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			if a := <-ask(fmt.Sprintf("pi-%d", i)); a.Error != "" {
				t.Errorf("a healthy device is refused: %s", a.Error)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("healthy devices waited %v for others", took)
		}
		time.Sleep(2 * DefaultDeadline)
		answered := 0
		for _, w := range waits {
			select {
			case a := <-w:
				answered++
				if a.Error == "" {
					t.Error("let in without an answer of the provider")
				}
			default:
			}
		}
		// At the deadline who could wait is answered; whom nobody could serve may not be.
		if answered < defaultWaiters || r.provider.length() != 0 {
			t.Errorf("%d were answered, %d are left", answered, r.provider.length())
		}
		cancel()
		synctest.Wait()
	})
}
