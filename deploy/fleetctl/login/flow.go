package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"fleet.nationtech.io/agent/openid"
)

const (
	grantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefresh    = "refresh_token"

	defaultInterval = 5 * time.Second // RFC 8628, section 3.2
	slowDown        = 5 * time.Second // section 3.5
	maxInterval     = time.Minute
)

// Prompt is what a person needs to approve a login on any device with a browser.
type Prompt struct {
	UserCode string
	URI      string
	Complete string // URI with the code; empty where the provider has none
	Expires  time.Time

	deviceCode string
	interval   time.Duration
}

// flow is the device authorization flow of RFC 8628.
type flow struct {
	provider *openid.Provider
	clientID string
	scopes   []string
	now      func() time.Time
	sleep    func(context.Context, time.Duration) error
}

// begin asks the provider for a code.
func (f flow) begin(ctx context.Context) (Prompt, error) {
	e, err := f.provider.Discover(ctx)
	if err != nil {
		return Prompt{}, err
	}
	if e.DeviceAuthorization == "" {
		return Prompt{}, errors.New("the provider offers no device authorization flow (RFC 8628)")
	}
	var answer struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URI        string `json:"verification_uri"`
		Complete   string `json:"verification_uri_complete"`
		ExpiresIn  int64  `json:"expires_in"`
		Interval   int64  `json:"interval"`
	}
	asked := f.now()
	err = f.provider.Post(ctx, e.DeviceAuthorization, url.Values{"client_id": {f.clientID}, "scope": {strings.Join(f.scopes, " ")}}, &answer)
	var no *openid.Refusal
	switch {
	case errors.As(err, &no) && (no.Code == "unauthorized_client" || no.Code == "invalid_client"):
		return Prompt{}, fmt.Errorf("the provider refuses client id %q, which must be that of an application of type Native with the grant types Device code and Refresh token: %w", f.clientID, err)
	case err != nil:
		return Prompt{}, fmt.Errorf("ask for a code: %w", err)
	case answer.DeviceCode == "" || answer.UserCode == "" || answer.URI == "" || answer.ExpiresIn <= 0:
		return Prompt{}, errors.New("ask for a code: the provider's answer lacks the code, its page or its end")
	}
	p := Prompt{
		UserCode: answer.UserCode, URI: answer.URI, Complete: answer.Complete, deviceCode: answer.DeviceCode,
		Expires: asked.Add(time.Duration(answer.ExpiresIn) * time.Second), interval: time.Duration(answer.Interval) * time.Second,
	}
	if p.interval <= 0 {
		p.interval = defaultInterval
	}
	return p, nil
}

// await polls until the person has decided.
func (f flow) await(ctx context.Context, p Prompt) (openid.Grant, error) {
	form := url.Values{"grant_type": {grantDeviceCode}, "device_code": {p.deviceCode}, "client_id": {f.clientID}}
	interval := p.interval
	for {
		if err := f.sleep(ctx, interval); err != nil {
			return openid.Grant{}, err
		}
		g, err := f.provider.Grant(ctx, form)
		var no *openid.Refusal
		refused := errors.As(err, &no)
		switch {
		case err == nil:
			return g, nil
		case ctx.Err() != nil:
			return openid.Grant{}, context.Cause(ctx)
		case refused && no.Code == "authorization_pending":
		case refused && no.Code == "slow_down":
			interval += slowDown
		case refused && no.Code == "access_denied":
			return openid.Grant{}, errors.New("the login was denied at the provider")
		case refused && no.Code == "expired_token", !f.now().Before(p.Expires):
			return openid.Grant{}, errors.New("the code ended before anybody approved it")
		case refused && no.Status < http.StatusInternalServerError && no.Status != http.StatusTooManyRequests:
			return openid.Grant{}, err
		default: // no answer, or a provider in trouble (section 3.5: poll more slowly)
			interval = min(2*interval, maxInterval)
		}
	}
}

// sleep waits, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
