package zitadel

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

const permissionService = "zitadel.internal_permission.v2.InternalPermissionService/"

// UserManager is the role of an account that makes machine users and their keys.
const UserManager = needsUserManager

// FindMachine finds a machine user of the organization by its name.
func (c *Client) FindMachine(ctx context.Context, username string) (u User, found bool, err error) {
	return c.byUsername(ctx, username)
}

// EnsureMachine makes a machine user with an id of the provider's, unless the
// organization has one of that name; that one is made active, and its tokens JWTs.
func (c *Client) EnsureMachine(ctx context.Context, username, description string) (id string, created bool, err error) {
	id, err = c.create(ctx, machine{username: username, description: description})
	if !errors.Is(err, ErrExists) {
		return id, err == nil, err
	}
	var u User
	id, err = c.existing(ctx, question{doing: "make user " + username}, func() (id string, found bool, err error) {
		u, found, err = c.byUsername(ctx, username)
		return u.ID, found, err
	})
	switch {
	case err != nil:
		return "", false, err
	case u.Standing == NotMachine:
		return "", false, &Refusal{Doing: "make user " + username, Kind: ErrNotMachine}
	}
	return id, false, c.mend(ctx, u)
}

// Administers gives the roles that a user has in the organization. New ones may be
// missing for a while.
func (c *Client) Administers(ctx context.Context, userID string) (roles []string, err error) {
	type ids struct {
		IDs []string `json:"ids"`
	}
	type resource struct {
		Organization string `json:"organizationId"`
	}
	type filter struct {
		Users    *ids      `json:"inUserIdsFilter,omitempty"`
		Resource *resource `json:"resource,omitempty"`
	}
	type member struct {
		UserID string `json:"userId"`
	}
	type query struct {
		User member `json:"userIdQuery"`
	}
	type found struct {
		Roles []string `json:"roles"`
	}
	var out struct {
		Administrators []found `json:"administrators"`
		Result         []found `json:"result"` // v1
	}
	_, err = c.ask(ctx, question{"list the roles of user " + userID, "ListAdministrators", needsOwner},
		connect(permissionService+"ListAdministrators", struct {
			Filters []filter `json:"filters"`
		}{[]filter{{Users: &ids{[]string{userID}}}, {Resource: &resource{c.Organization}}}}, &out),
		way{http.MethodPost, "/management/v1/orgs/me/members/_search", struct {
			Queries []query `json:"queries"`
		}{[]query{{member{userID}}}}, &out})
	for _, one := range slices.Concat(out.Administrators, out.Result) {
		roles = append(roles, one.Roles...)
	}
	return roles, err
}

// EnsureAdministers gives a user a role in the organization, beside those that it
// has. changed says that it had not got it.
func (c *Client) EnsureAdministers(ctx context.Context, userID, role string) (changed bool, err error) {
	doing := "give user " + userID + " the role " + role + " in organization " + c.Organization
	err = c.setRoles(ctx, question{doing, "CreateAdministrator", needsOwner}, way{method: http.MethodPost, path: membersPath}, userID, []string{role})
	if !errors.Is(err, ErrExists) {
		return err == nil, err
	}
	var roles []string
	if _, err := c.settled(ctx, func() (bool, error) {
		roles, err = c.Administers(ctx, userID)
		return len(roles) > 0, err
	}); err != nil || slices.Contains(roles, role) {
		return false, err
	}
	path := membersPath + "/" + url.PathEscape(userID)
	err = c.setRoles(ctx, question{doing, "UpdateAdministrator", needsOwner}, way{method: http.MethodPut, path: path}, userID, append(roles, role))
	return err == nil, err
}

const membersPath = "/management/v1/orgs/me/members"

// setRoles replaces a user's roles in the organization.
func (c *Client) setRoles(ctx context.Context, q question, old way, userID string, roles []string) error {
	type resource struct {
		Organization string `json:"organizationId"`
	}
	old.in = struct {
		UserID string   `json:"userId"`
		Roles  []string `json:"roles"`
	}{userID, roles}
	_, err := c.ask(ctx, q, connect(permissionService+q.method, struct {
		UserID   string   `json:"userId"`
		Resource resource `json:"resource"`
		Roles    []string `json:"roles"`
	}{userID, resource{c.Organization}, roles}, nil), old)
	return err
}
