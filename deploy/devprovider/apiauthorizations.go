package devprovider

import (
	"slices"
	"time"
)

// authorizations are the methods of authorizations, which v1 calls user grants.
func (m *management) authorizations() []endpoint {
	const service = "zitadel.authorization.v2.AuthorizationService/"
	type in struct {
		userID
		projectID
		OrganizationID string   `json:"organizationId"`
		Roles          []string `json:"roleKeys"`
	}
	return []endpoint{
		{service + "CreateAuthorization", "", func(c *call) (any, *problem) {
			var r in
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			id, wrong := c.authorize(r.UserID, r.ProjectID, r.OrganizationID, r.Roles)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"id": id, "creationDate": stamp(time.Now())}, nil
		}},
		{service + "ListAuthorizations", "", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					User    *idFilter `json:"userId"`
					Project *idFilter `json:"projectId"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachAuthorization(func(user string, roles []grantedRole) {
				for _, f := range r.Filters {
					if f.User != nil && f.User.ID != user || f.Project != nil && f.Project.ID != roles[0].Project {
						return
					}
				}
				keys := []any{}
				for _, role := range roles {
					keys = append(keys, map[string]any{"key": role.Key})
				}
				all = append(all, map[string]any{
					"id": roles[0].authorization, "user": map[string]any{"id": user}, "project": map[string]any{"id": roles[0].Project},
					"organization": map[string]any{"id": roles[0].Organization}, "state": "STATE_ACTIVE", "roles": keys,
				})
			})
			return paged("authorizations", all), nil
		}},
		{"", "POST /management/v1/users/{userId}/grants", func(c *call) (any, *problem) {
			var r in
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			id, wrong := c.authorize(r.UserID, r.ProjectID, c.organization, r.Roles)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"userGrantId": id, "details": details(c.organization)}, nil
		}},
	}
}

func (c *call) authorize(user, project, organization string, roles []string) (id string, wrong *problem) {
	u, p := c.users[user], c.projects[project]
	switch {
	case !c.may(writeGrant, organization):
		return "", noRight()
	case u == nil:
		return "", unknown("COMMAND-4M0gh", "User")
	case p == nil:
		return "", unknown("COMMAND-3M9sd", "Project")
	case len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool { return !slices.Contains(p.Roles, r) }):
		return "", &problem{failedPrecondition, "COMMAND-mm9F4", "Errors.Project.Role.NotFound"}
	case slices.ContainsFunc(u.roles, func(r grantedRole) bool { return r.Project == project && r.Organization == organization }):
		return "", exists("V3-DKcYh", "User grant")
	}
	id = c.id()
	for _, key := range roles {
		u.roles = append(u.roles, grantedRole{Role: Role{Project: project, Key: key, Organization: organization}, authorization: id, seen: time.Now().Add(c.lag)})
	}
	return id, nil
}

// eachAuthorization yields those that searches show to the caller, with their roles.
func (c *call) eachAuthorization(yield func(user string, roles []grantedRole)) {
	for id, u := range c.users {
		byID := map[string][]grantedRole{}
		for _, r := range u.roles {
			if !time.Now().Before(r.seen) && c.may(writeGrant, r.Organization) {
				byID[r.authorization] = append(byID[r.authorization], r)
			}
		}
		for _, roles := range byID {
			yield(id, roles)
		}
	}
}
