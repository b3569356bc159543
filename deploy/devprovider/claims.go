package devprovider

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// Scopes and claims of Zitadel.
const (
	scopeRoles         = "urn:zitadel:iam:org:projects:roles"
	scopeMetadata      = "urn:zitadel:iam:user:metadata"
	scopeResourceOwner = "urn:zitadel:iam:user:resourceowner"
	scopeProject       = "urn:zitadel:iam:org:project:id:"
	scopeRole          = "urn:zitadel:iam:org:project:role:"
	audienceSuffix     = ":aud"

	claimRoles    = "urn:zitadel:iam:org:project:roles"
	claimMetadata = "urn:zitadel:iam:user:metadata"
	claimOwner    = "urn:zitadel:iam:user:resourceowner:"
)

func supportedScopes() []string {
	return []string{"openid", "profile", "email", "offline_access", scopeRoles, scopeMetadata, scopeResourceOwner}
}

// knownScopes drops what the provider does not know, in silence, as Zitadel does.
func knownScopes(asked []string) []string {
	var known []string
	for _, s := range asked {
		if slices.Contains(supportedScopes(), s) || strings.HasPrefix(s, scopeRole) ||
			strings.HasPrefix(s, scopeProject) && strings.HasSuffix(s, audienceSuffix) ||
			strings.HasPrefix(s, "urn:zitadel:iam:org:id:") || strings.HasPrefix(s, "urn:zitadel:iam:org:domain:primary:") {
			known = append(known, s)
		}
	}
	return known
}

// audience comes from scopes alone.
func audience(scopes []string) []string {
	all := []string{}
	for _, s := range scopes {
		if rest, ok := strings.CutPrefix(s, scopeProject); ok {
			if id, ok := strings.CutSuffix(rest, audienceSuffix); ok && id != "" && !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// claims are those that scopes ask for. current is the project of the application
// that people logged in to, or that introspects; a machine's token has none. mu
// is held.
func (d *directory) claims(u *user, scopes, audience []string, current string) map[string]any {
	all := map[string]any{}
	for _, project := range audience {
		if roles := d.roles(u, project, scopes); len(roles) > 0 {
			all[claimRoles[:len(claimRoles)-len("roles")]+project+":roles"] = roles
		}
	}
	if current != "" {
		if roles := d.roles(u, current, append([]string{scopeRoles}, scopes...)); len(roles) > 0 {
			all[claimRoles] = roles
		}
	}
	if slices.Contains(scopes, scopeMetadata) && len(u.Metadata) > 0 {
		values := map[string]string{}
		for k, v := range u.Metadata {
			values[k] = base64.RawURLEncoding.EncodeToString([]byte(v))
		}
		all[claimMetadata] = values
	}
	if slices.Contains(scopes, scopeResourceOwner) {
		o := d.organizations[u.Organization]
		all[claimOwner+"id"], all[claimOwner+"name"], all[claimOwner+"primary_domain"] = o.ID, o.Name, o.Domain
	}
	return all
}

// roles are a user's in one project, as far as scopes ask for them: role, then
// the organization that granted it, then its domain. mu is held.
func (d *directory) roles(u *user, project string, scopes []string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, r := range u.roles {
		asked := slices.Contains(scopes, scopeRoles) || slices.Contains(scopes, scopeRole+r.Key)
		if r.Project != project || !asked || time.Now().Before(r.seen) {
			continue
		}
		if all[r.Key] == nil {
			all[r.Key] = map[string]string{}
		}
		all[r.Key][r.Organization] = d.organizations[r.Organization].Domain
	}
	return all
}
