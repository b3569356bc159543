package devprovider

import (
	"slices"
	"strings"
	"time"
)

// instance is the resource whose administrators may do all.
const instance = "instance"

// right is something that an administrator may do in an organization.
type right string

// Rights.
const (
	createOrganization right = "org.create"
	readOrganization   right = "org.read"
	writeUser          right = "user.write"
	writeGrant         right = "user.grant.write"
	readProject        right = "project.read"
	writeProject       right = "project.write"
	writeMember        right = "org.member.write"
)

// rightsOf are what roles give.
var rightsOf = map[string][]right{
	"IAM_OWNER":        {createOrganization, readOrganization, writeUser, writeGrant, readProject, writeProject, writeMember},
	"ORG_OWNER":        {readOrganization, writeUser, writeGrant, readProject, writeProject, writeMember},
	"ORG_USER_MANAGER": {readOrganization, writeUser, writeGrant, readProject},
}

// AddAdministrator gives a user roles in the management API: IAM_OWNER where the
// organization is empty; else ORG_OWNER or ORG_USER_MANAGER in that organization.
func (p *Provider) AddAdministrator(userID, organization string, roles ...string) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	if organization == "" {
		organization = instance
	}
	p.directory.administer(organization, userID, roles)
}

// administer sets a user's roles. mu is held.
func (d *directory) administer(resource, userID string, roles []string) {
	if d.administrators[resource] == nil {
		d.administrators[resource] = map[string][]string{}
	}
	d.administrators[resource][userID] = roles
}

// may says whether the caller has a right in an organization. mu is held.
func (c *call) may(r right, organization string) bool {
	for _, resource := range []string{instance, organization} {
		for _, role := range c.administrators[resource][c.caller] {
			if slices.Contains(rightsOf[role], r) {
				return true
			}
		}
	}
	return false
}

func memberID(resource, user string) string { return "member " + resource + " " + user }

type resourceType struct {
	Instance       bool   `json:"instance"`
	OrganizationID string `json:"organizationId"`
}

func (r resourceType) name() string {
	if r.Instance {
		return instance
	}
	return r.OrganizationID
}

type idsFilter struct {
	IDs []string `json:"ids"`
}

// administrators are the methods of administrators, whom v1 calls members.
func (m *management) administrators() []endpoint {
	const service = "zitadel.internal_permission.v2.InternalPermissionService/"
	type v2 struct {
		UserID   string       `json:"userId"`
		Resource resourceType `json:"resource"`
		Roles    []string     `json:"roles"`
	}
	type v1 struct {
		UserID string   `json:"userId"`
		Roles  []string `json:"roles"`
	}
	return []endpoint{
		{service + "CreateAdministrator", "", func(c *call) (any, *problem) {
			var r v2
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return map[string]any{"creationDate": stamp(time.Now())}, c.addMember(r.Resource.name(), r.UserID, r.Roles)
		}},
		{service + "UpdateAdministrator", "", func(c *call) (any, *problem) {
			var r v2
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return map[string]any{"changeDate": stamp(time.Now())}, c.changeMember(r.Resource.name(), r.UserID, r.Roles)
		}},
		{service + "DeleteAdministrator", "", func(c *call) (any, *problem) {
			var r v2
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			if !c.may(writeMember, r.Resource.name()) {
				return nil, noRight()
			}
			delete(c.administrators[r.Resource.name()], r.UserID)
			return map[string]any{"deletionDate": stamp(time.Now())}, nil
		}},
		{service + "ListAdministrators", "", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					Users    *idsFilter    `json:"inUserIdsFilter"`
					Resource *resourceType `json:"resource"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachMember(func(resource, user string, roles []string) {
				for _, f := range r.Filters {
					if f.Users != nil && !slices.Contains(f.Users.IDs, user) || f.Resource != nil && f.Resource.name() != resource {
						return
					}
				}
				one := map[string]any{"user": map[string]any{"id": user}, "roles": roles}
				if resource == instance {
					one["instance"] = true
				} else {
					one["organization"] = map[string]any{"id": resource}
				}
				all = append(all, one)
			})
			return paged("administrators", all), nil
		}},
		{"", "POST /management/v1/orgs/me/members", func(c *call) (any, *problem) {
			var r v1
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return map[string]any{"details": details(c.organization)}, c.addMember(c.organization, r.UserID, r.Roles)
		}},
		{"", "PUT /management/v1/orgs/me/members/{userId}", func(c *call) (any, *problem) {
			var r v1
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return map[string]any{"details": details(c.organization)}, c.changeMember(c.organization, r.UserID, r.Roles)
		}},
		{"", "DELETE /management/v1/orgs/me/members/{userId}", func(c *call) (any, *problem) {
			var r v1
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			if !c.may(writeMember, c.organization) {
				return nil, noRight()
			}
			delete(c.administrators[c.organization], r.UserID)
			return map[string]any{"details": details(c.organization)}, nil
		}},
		{"", "POST /management/v1/orgs/me/members/_search", func(c *call) (any, *problem) {
			var r struct {
				Query   any `json:"query"`
				Queries []struct {
					User *struct {
						UserID string `json:"userId"`
					} `json:"userIdQuery"`
				} `json:"queries"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachMember(func(resource, user string, roles []string) {
				for _, q := range r.Queries {
					if q.User != nil && q.User.UserID != user {
						return
					}
				}
				if resource == c.organization {
					all = append(all, map[string]any{"userId": user, "roles": roles, "details": details(resource)})
				}
			})
			return result(all), nil
		}},
	}
}

func (c *call) addMember(resource, user string, roles []string) *problem {
	switch {
	case !c.may(writeMember, resource):
		return noRight()
	case c.users[user] == nil:
		return unknown("QUERY-Dfbg2", "User")
	case c.administrators[resource][user] != nil:
		return exists("COMMAND-AXnyE", "Member")
	case len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool {
		return rightsOf[r] == nil || (resource == instance) != strings.HasPrefix(r, "IAM_")
	}):
		return &problem{invalidArgument, "Org-4N8es", "Member is invalid"}
	}
	c.administer(resource, user, roles)
	c.hide(memberID(resource, user))
	return nil
}

func (c *call) changeMember(resource, user string, roles []string) *problem {
	switch {
	case !c.may(writeMember, resource):
		return noRight()
	case c.administrators[resource][user] == nil:
		return unknown("Org-D8JxR", "Member")
	}
	c.administer(resource, user, roles)
	return nil
}

// eachMember yields those that searches show to the caller.
func (c *call) eachMember(yield func(resource, user string, roles []string)) {
	for resource, members := range c.administrators {
		for user, roles := range members {
			if c.visible(memberID(resource, user)) && (user == c.caller || c.may(writeMember, resource)) {
				yield(resource, user, roles)
			}
		}
	}
}
