package token_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/callout/token"
)

// a key set as a provider publishes it; the modulus is that of no known key.
var oneKey = fmt.Sprintf(`{"keys":[{"use":"sig","kty":"RSA","kid":"k1","alg":"RS256","n":"%s","e":"AQAB"}]}`, "w"+strings.Repeat("A", 340)+"w")

// source is a provider whose every answer the test decides.
type source struct {
	asked atomic.Int64

	mu     sync.Mutex
	answer func(ctx context.Context) ([]byte, time.Duration, error)
}

func (s *source) becomes(answer func(ctx context.Context) ([]byte, time.Duration, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *source) Keys(ctx context.Context) ([]byte, time.Duration, error) {
	s.asked.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	return answer(ctx)
}

func healthy(context.Context) ([]byte, time.Duration, error) { return []byte(oneKey), 0, nil }

func run(t *testing.T, o token.KeysOptions) *token.Keys {
	t.Helper()
	o.Algorithms = []string{"RS256"}
	k := token.NewKeys(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return k
}

func TestAThousandUnknownKeysAreOneRequestToTheProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(context.Context) ([]byte, time.Duration, error) {
			time.Sleep(time.Second)
			return []byte(oneKey), 0, nil
		}}
		k := run(t, token.KeysOptions{Source: s})
		time.Sleep(time.Minute)
		before := s.asked.Load()
		var waiting sync.WaitGroup
		for range 1000 {
			waiting.Go(func() {
				if err := k.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		waiting.Wait()
		if n := s.asked.Load() - before; n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		for range 1000 { // within the minimum interval nobody asks again
			if err := k.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.asked.Load() - before; n != 1 {
			t.Errorf("%d requests within the minimum interval, want 1", n)
		}
		time.Sleep(token.DefaultMinInterval)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.asked.Load() - before; n != 2 {
			t.Errorf("%d requests after the minimum interval, want 2", n)
		}
	})
}

func TestKeysAreUsedAsLongAsTheyMayBeWhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: healthy}
		k := run(t, token.KeysOptions{Source: s})
		synctest.Wait()
		down := errors.New("connection refused")
		s.becomes(func(context.Context) ([]byte, time.Duration, error) { return nil, 0, down })
		time.Sleep(token.DefaultMaxAge)
		if _, err := k.KeyRead(t.Context(), "k1"); err != nil || !k.Ready() || k.Age() != token.DefaultMaxAge {
			t.Errorf("at their maximum age: error %v, ready %v, age %v", err, k.Ready(), k.Age())
		}
		time.Sleep(time.Second)
		if _, err := k.KeyRead(t.Context(), "k1"); err == nil || k.Ready() {
			t.Errorf("past their maximum age: error %v, ready %v", err, k.Ready())
		}
		s.becomes(healthy)
		time.Sleep(token.DefaultMinInterval)
		if _, err := k.KeyRead(t.Context(), "k1"); err != nil || !k.Ready() {
			t.Errorf("when the provider is back: error %v, ready %v", err, k.Ready())
		}
	})
}

func TestAnAnswerWithoutAUsableKeyReplacesNothing(t *testing.T) {
	t.Parallel()
	symmetric := `{"kty":"oct","kid":"k1","alg":"HS256","k":"c2VjcmV0"}`
	short := `{"use":"sig","kty":"RSA","kid":"k1","alg":"RS256","n":"wAAAAAAB","e":"AQAB"}`
	for name, body := range map[string]string{
		"no keys":                     `{"keys":[]}`,
		"an empty object":             `{}`,
		"a page of HTML":              `<html></html>`,
		"nothing":                     ``,
		"a symmetric key":             `{"keys":[` + symmetric + `]}`,
		"an RSA key of 48 bits":       `{"keys":[` + short + `]}`,
		"a key for encryption":        strings.Replace(oneKey, `"sig"`, `"enc"`, 1),
		"a key without an id":         strings.Replace(oneKey, `"kid":"k1",`, ``, 1),
		"a key of another algorithm":  strings.Replace(oneKey, `RS256`, `RS512`, 1),
		"keys that are no JWK at all": `{"keys":[1,"x",null,{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{answer: healthy}
				k := run(t, token.KeysOptions{Source: s})
				synctest.Wait()
				s.becomes(func(context.Context) ([]byte, time.Duration, error) { return []byte(body), 0, nil })
				time.Sleep(time.Minute)
				if err := k.Refresh(t.Context()); err == nil {
					t.Error("no error")
				}
				if _, err := k.KeyRead(t.Context(), "k1"); err != nil {
					t.Errorf("the key that was known is gone: %v", err)
				}
			})
		})
	}
}

func TestTheProviderSaysHowLongItsKeysAreKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		maxAge time.Duration
		want   int64 // reads within an hour, the first one included
	}{
		"not at all":                          {0, 13},
		"ten minutes":                         {10 * time.Minute, 7},
		"a day, at most a quarter of an hour": {24 * time.Hour, 5},
		"a millisecond, at least ten seconds": {time.Millisecond, 361},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{answer: func(context.Context) ([]byte, time.Duration, error) { return []byte(oneKey), tt.maxAge, nil }}
				run(t, token.KeysOptions{Source: s})
				time.Sleep(time.Hour + time.Second)
				if n := s.asked.Load(); n != tt.want {
					t.Errorf("%d reads, want %d", n, tt.want)
				}
			})
		})
	}
}

func TestWhoWaitsForKeysIsReleasedByItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(ctx context.Context) ([]byte, time.Duration, error) {
			<-ctx.Done()
			return nil, 0, ctx.Err()
		}}
		k := run(t, token.KeysOptions{Source: s})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestKeysCannotBeChangedOrListedThroughTheStorage(t *testing.T) {
	t.Parallel()
	k := token.NewKeys(token.KeysOptions{})
	ctx := t.Context()
	var errs []error
	_, err := k.KeyDelete(ctx, "k1")
	errs = append(errs, err, k.KeyWrite(ctx, jwkset.JWK{}), k.KeyReplaceAll(ctx, nil))
	_, err = k.KeyReadAll(ctx)
	errs = append(errs, err)
	_, err = k.JSON(ctx)
	errs = append(errs, err)
	_, err = k.JSONPublic(ctx)
	errs = append(errs, err)
	_, err = k.JSONPrivate(ctx)
	errs = append(errs, err)
	_, err = k.JSONWithOptions(ctx, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	errs = append(errs, err)
	_, err = k.Marshal(ctx)
	errs = append(errs, err)
	_, err = k.MarshalWithOptions(ctx, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	errs = append(errs, err)
	for i, err := range errs {
		if err == nil {
			t.Errorf("call %d: no error", i)
		}
	}
}

func TestWhateverTheProviderDoesKnownKeysStayInUse(t *testing.T) {
	t.Parallel()
	for _, fault := range []providertest.Fault{
		providertest.Down, providertest.Error, providertest.Hanging, providertest.Empty, providertest.NoJSON,
		providertest.Huge, providertest.Redirect, providertest.OnlyEnc,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			s := start(t, func(k *token.KeysOptions, _ *token.Options) { k.MinInterval = time.Millisecond })
			s.provider.Break(fault)
			time.Sleep(2 * time.Millisecond) // the minimum interval
			_, err := s.verifier.Resolve(t.Context(), s.provider.Device("pi-01").Head("kid", "k2").Token(t))
			if !refusal.Is(err, refusal.ProviderUnavailable) {
				t.Errorf("a token of an unknown key: %v, want %s", err, refusal.ProviderUnavailable)
			}
			if _, err := s.verifier.Verify(s.provider.Device("pi-01").Token(t)); err != nil {
				t.Errorf("a token of a known key is refused: %v", err)
			}
		})
	}
}

func TestADiscoveryOfAnotherIssuerIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := providertest.Start(t)
	p.Break(providertest.OtherURL)
	source, err := token.NewProvider(token.ProviderOptions{Issuer: p.Issuer()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := source.Keys(t.Context()); err == nil || !strings.Contains(err.Error(), "both must be equal") {
		t.Errorf("error %v", err)
	}
	if p.KeyReads() != 0 {
		t.Error("the keys of another issuer were read")
	}
}

func TestRotatedKeysAreLearnedFromATokenThatNamesThem(t *testing.T) {
	t.Parallel()
	for name, overlap := range map[string]bool{"with overlap": true, "without overlap": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(k *token.KeysOptions, _ *token.Options) { k.MinInterval = time.Millisecond })
			s.provider.Rotate(overlap)
			time.Sleep(2 * time.Millisecond) // the minimum interval
			before, after := s.provider.Device("pi-01").Token(t), s.provider.Device("pi-01").Head("kid", "k2").Token(t)
			if _, err := s.verifier.Verify(after); !errors.Is(err, token.ErrNeedsProvider) {
				t.Fatalf("error %v, want ErrNeedsProvider", err)
			}
			if c, err := s.verifier.Resolve(t.Context(), after); err != nil || c.KeyID != "k2" {
				t.Errorf("the new key's token: %v, key %q", err, c.KeyID)
			}
			if _, err := s.verifier.Resolve(t.Context(), before); (err == nil) != overlap {
				t.Errorf("the old key's token: %v", err)
			}
		})
	}
}
