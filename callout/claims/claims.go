// Package claims reads what a token says about its bearer, in the form that
// Zitadel says it. It is pure: whether the token is genuine is decided before.
package claims

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names of claims.
const (
	Organization  = "urn:zitadel:iam:user:resourceowner:id"
	Metadata      = "urn:zitadel:iam:user:metadata"
	ProjectRoles  = "urn:zitadel:iam:org:project:roles"
	DeviceID      = "device_id"
	metadataBytes = 1 << 10 // a value may not be longer
)

// rolesOf is the claim with the roles of one project.
func rolesOf(project string) string { return "urn:zitadel:iam:org:project:" + project + ":roles" }

// Claims is what a verified token says.
type Claims struct {
	Subject      string
	ClientID     string // of a machine its user name, of a person the application
	Username     string // from introspection alone
	Name         string // a readable name, for display alone
	Organization string // that owns the user; empty where the token does not say
	// Roles maps a role of our project to the organizations that granted it.
	Roles    map[string][]string
	DeviceID string            // the claim device_id
	Metadata map[string]string // decoded
	Expires  time.Time
	KeyID    string // of the provider's signing key; empty for an opaque token
}

// Granted says whether one of the organizations granted the role.
func (c Claims) Granted(role string, organizations []string) bool {
	return slices.ContainsFunc(c.Roles[role], func(o string) bool { return slices.Contains(organizations, o) })
}

// Read reads the claims of our project. Expires and KeyID are the verifier's to
// set. It fails on a claim that is there and has another shape than Zitadel gives
// it: a claim that cannot be read must not count as absent.
func Read(all map[string]any, project string) (Claims, error) {
	var c Claims
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"sub", &c.Subject},
		{"client_id", &c.ClientID},
		{"username", &c.Username},
		{"name", &c.Name},
		{Organization, &c.Organization},
		{DeviceID, &c.DeviceID},
	} {
		v, ok := all[f.name]
		if !ok || v == nil {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return Claims{}, fmt.Errorf("the claim %s is not a string", f.name)
		}
		*f.to = s
	}
	var err error
	if c.Roles, err = readRoles(all, project); err != nil {
		return Claims{}, err
	}
	if c.Metadata, err = readMetadata(all); err != nil {
		return Claims{}, err
	}
	return c, nil
}

// readRoles takes the claim of our project, and the claim of the current project
// only where that one is absent. Roles of other projects are never read.
func readRoles(all map[string]any, project string) (map[string][]string, error) {
	name := rolesOf(project)
	v, ok := all[name]
	if !ok {
		name = ProjectRoles
		if v, ok = all[name]; !ok {
			return nil, nil
		}
	}
	byRole, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the claim %s is not an object of roles", name)
	}
	roles := make(map[string][]string, len(byRole))
	for role, v := range byRole {
		byOrganization, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("role %q in the claim %s is not an object of organizations", role, name)
		}
		for organization := range byOrganization {
			roles[role] = append(roles[role], organization)
		}
		slices.Sort(roles[role])
	}
	return roles, nil
}

func readMetadata(all map[string]any) (map[string]string, error) {
	v, ok := all[Metadata]
	if !ok {
		return nil, nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the claim %s is not an object", Metadata)
	}
	decoded := make(map[string]string, len(values))
	for key, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("the metadata %q is not a string", key)
		}
		b, err := decode(s)
		if err != nil {
			return nil, fmt.Errorf("the metadata %q is not base64", key)
		}
		decoded[key] = string(b)
	}
	return decoded, nil
}

// decode takes base64url without padding, as tokens have it, and padded standard
// base64, as the management API has it.
func decode(s string) ([]byte, error) {
	if len(s) > metadataBytes {
		return nil, fmt.Errorf("longer than %d bytes", metadataBytes)
	}
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
