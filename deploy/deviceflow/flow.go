// Package deviceflow signs a person in at a terminal by the device authorization flow
// of RFC 8628.
package deviceflow

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

// Flow asks one provider for one application.
type Flow struct {
	Provider *openid.Provider
	ClientID string // of an application with the grant type Device code
	Scopes   []string
	Now      func() time.Time
	// Sleep waits, or until the context ends; nil: by the machine's clock.
	Sleep func(context.Context, time.Duration) error
}

// Begin asks the provider for a code.
func (f Flow) Begin(ctx context.Context) (Prompt, error) {
	e, err := f.Provider.Discover(ctx)
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
	asked := f.Now()
	err = f.Provider.Post(ctx, e.DeviceAuthorization, url.Values{"client_id": {f.ClientID}, "scope": {strings.Join(f.Scopes, " ")}}, &answer)
	var no *openid.Refusal
	switch {
	case errors.As(err, &no) && (no.Code == "unauthorized_client" || no.Code == "invalid_client"):
		return Prompt{}, fmt.Errorf("the provider refuses client id %q, which must be that of an application of type Native with the grant types Device code and Refresh token: %w", f.ClientID, err)
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

// Await polls until the person has decided.
func (f Flow) Await(ctx context.Context, p Prompt) (openid.Grant, error) {
	form := url.Values{"grant_type": {grantDeviceCode}, "device_code": {p.deviceCode}, "client_id": {f.ClientID}}
	interval, pause := p.interval, f.Sleep
	if pause == nil {
		pause = Sleep
	}
	for {
		if err := pause(ctx, interval); err != nil {
			return openid.Grant{}, err
		}
		g, err := f.Provider.Grant(ctx, form)
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
		case refused && no.Code == "expired_token", !f.Now().Before(p.Expires):
			return openid.Grant{}, errors.New("the code ended before anybody approved it")
		case refused && no.Status < http.StatusInternalServerError && no.Status != http.StatusTooManyRequests:
			return openid.Grant{}, err
		default: // no answer, or a provider in trouble (section 3.5: poll more slowly)
			interval = min(2*interval, maxInterval)
		}
	}
}

// Sleep waits, or until the context ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
