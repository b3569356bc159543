package identity

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/eventlog"
)

// expected is what the device knows of the token that it should have.
type expected struct {
	device    string
	issuer    string
	projectID string
}

// whyRefused looks in the device's own token for reasons why the bus would not
// take it, a sentence each. It judges no signature. now is the provider's time.
func (e expected) whyRefused(token string, now time.Time) []string {
	claims, ok := openid.ReadClaims(token)
	if !ok {
		return []string{"the token is opaque, not a JWT: set the access token type of machine user to JWT at the provider (accessTokenType ACCESS_TOKEN_TYPE_JWT)"}
	}
	var why []string
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if len(token) > eventlog.MaxTokenBytes {
		say("the token has %d bytes, and the bus takes %d: ask for fewer auth.scopes, or shorten the metadata of the machine user", len(token), eventlog.MaxTokenBytes)
	}
	if iss, _ := claims["iss"].(string); iss != e.issuer {
		say("the token's issuer is %.200q, and auth.issuer is %q", iss, e.issuer)
	}
	if !slices.Contains(openid.Texts(claims["aud"]), e.projectID) {
		say("the token is not for project %s (aud is %.200q): correct auth.project_id", e.projectID, openid.Texts(claims["aud"]))
	}
	if sub, _ := claims["sub"].(string); sub != e.device && claims["device_id"] != e.device && metadata(claims, "device_id") != e.device {
		say("the token is of machine user %.200q, and device_id is %q: correct device_id, or create the machine user with the id of the device", sub, e.device)
	}
	if exp, ok := openid.Moment(claims["exp"]); !ok || !exp.After(now) {
		say("the token ended at %s", exp.UTC().Format(time.RFC3339))
	}
	if nbf, ok := openid.Moment(claims["nbf"]); ok && nbf.After(now.Add(30*time.Second)) {
		say("the token holds only from %s on", nbf.UTC().Format(time.RFC3339))
	}
	if roles, _ := claims["urn:zitadel:iam:org:project:"+e.projectID+":roles"].(map[string]any); roles["device"] == nil {
		if owner, _ := claims["urn:zitadel:iam:user:resourceowner:id"].(string); owner == "" {
			say("the token has neither role device of project %s nor its organization: grant the machine user role device", e.projectID)
		}
	}
	return why
}

// metadata is one value of the machine user's metadata, which tokens carry as
// base64url without padding, and the documentation shows padded and standard.
func metadata(claims map[string]any, key string) string {
	all, _ := claims["urn:zitadel:iam:user:metadata"].(map[string]any)
	text, _ := all[key].(string)
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	value, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(value)
}
