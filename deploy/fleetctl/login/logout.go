package login

import (
	"context"
	"errors"
	"net/url"
)

// End forgets the cached tokens, and takes the refresh token back at the provider. It
// fails with ErrLoggedOut. Where the provider cannot be asked the tokens are
// forgotten all the same, and revoked says why they are not taken back.
func (s *Session) End(ctx context.Context) (revoked, err error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	unlock, err := s.cache.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := s.cache.read()
	if err != nil {
		return nil, err
	}
	if t.Refresh != "" {
		revoked = s.revoke(ctx, t.Refresh)
	}
	return revoked, s.cache.remove()
}

func (s *Session) revoke(ctx context.Context, refresh string) error {
	e, err := s.provider.Discover(ctx)
	if err != nil {
		return err
	}
	if e.Revocation == "" {
		return errors.New("the provider has no revocation endpoint")
	}
	return s.provider.Post(ctx, e.Revocation, url.Values{"token": {refresh}, "token_type_hint": {grantRefresh}, "client_id": {s.account.ClientID}}, nil)
}
