package devprovider

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// States of users, and forms of machines' tokens, as the API names them.
const (
	userActive   = "USER_STATE_ACTIVE"
	userInactive = "USER_STATE_INACTIVE"
	userLocked   = "USER_STATE_LOCKED"

	tokenTypeOpaque = "ACCESS_TOKEN_TYPE_BEARER"
	tokenTypeOfJWT  = "ACCESS_TOKEN_TYPE_JWT"
)

// machineIn is a machine user as requests have it.
type machineIn struct {
	Name            *string `json:"name"`
	Description     *string `json:"description"`
	AccessTokenType *string `json:"accessTokenType"`
}

// into changes a user.
func (m machineIn) into(u *User) *problem {
	if m.Name != nil {
		u.Name = *m.Name
	}
	if m.Description != nil {
		u.Description = *m.Description
	}
	if m.AccessTokenType != nil {
		switch *m.AccessTokenType {
		case tokenTypeOpaque:
			u.TokenType = Opaque
		case tokenTypeOfJWT:
			u.TokenType = JWT
		default:
			return &problem{invalidArgument, "USER-1", "invalid access token type"}
		}
	}
	return nil
}

type userID struct {
	UserID string `json:"userId"`
}

// users are the methods of users, machines alone: people are added by AddUser.
func (m *management) users() []endpoint {
	const service = "zitadel.user.v2.UserService/"
	all := []endpoint{
		{service + "CreateUser", "POST /v2/users/new", createUser},
		{service + "GetUserByID", "GET /v2/users/{userId}", func(c *call) (any, *problem) {
			u, wrong := c.own(true)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"details": details(u.Organization), "user": u.v2()}, nil
		}},
		{service + "UpdateUser", "PATCH /v2/users/{userId}", func(c *call) (any, *problem) {
			var r struct {
				userID
				Machine machineIn `json:"machine"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			u, wrong := c.find(r.UserID, true)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"changeDate": stamp(time.Now())}, r.Machine.into(&u.User)
		}},
		{service + "ListUsers", "POST /v2/users", searchUsersV2},
		{service + "DeleteUser", "DELETE /v2/users/{userId}", deleteUser(true)},
		{"", "POST /management/v1/users/machine", createMachineV1},
		{"", "GET /management/v1/users/{userId}", func(c *call) (any, *problem) {
			u, wrong := c.own(false)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"user": u.v1()}, nil
		}},
		{"", "PUT /management/v1/users/{userId}/machine", func(c *call) (any, *problem) {
			var r struct {
				userID
				machineIn
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			u, wrong := c.find(r.UserID, false)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"details": details(u.Organization)}, r.into(&u.User)
		}},
		{"", "POST /management/v1/users/_search", searchUsersV1},
		{"", "DELETE /management/v1/users/{userId}", deleteUser(false)},
	}
	for _, s := range []struct {
		name, path string
		change     func(*user) *problem
	}{
		{"DeactivateUser", "deactivate", func(u *user) *problem {
			wrong := already(u.inactive, "COMMAND-5M0sd", "Errors.User.AlreadyInactive")
			u.inactive = true
			return wrong
		}},
		{"ReactivateUser", "reactivate", func(u *user) *problem {
			wrong := already(!u.inactive, "COMMAND-6M0sf", "Errors.User.NotInactive")
			u.inactive = false
			return wrong
		}},
		{"LockUser", "lock", func(u *user) *problem {
			wrong := already(u.locked || u.inactive, "COMMAND-3NN8v", "Errors.User.ShouldBeActiveOrInitial")
			u.locked = true
			return wrong
		}},
		{"UnlockUser", "unlock", func(u *user) *problem {
			wrong := already(!u.locked, "COMMAND-4M0ds", "Errors.User.NotLocked")
			u.locked = false
			return wrong
		}},
	} {
		all = append(all,
			endpoint{service + s.name, "POST /v2/users/{userId}/" + s.path, changeState(true, s.change)},
			endpoint{"", "POST /management/v1/users/{userId}/_" + s.path, changeState(false, s.change)})
	}
	return all
}

func already(is bool, id, message string) *problem {
	if is {
		return &problem{failedPrecondition, id, message}
	}
	return nil
}

// own finds the user that the request names alone.
func (c *call) own(v2 bool) (*user, *problem) {
	var r userID
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	return c.find(r.UserID, v2)
}

// find gives a user that the caller may manage. v1 shows those of one organization.
func (c *call) find(id string, v2 bool) (*user, *problem) {
	u := c.users[id]
	switch {
	case !v2 && !c.may(writeUser, c.organization):
		return nil, noRight()
	case u == nil || !v2 && u.Organization != c.organization:
		return nil, unknown("QUERY-Dfbg2", "User")
	case !c.may(writeUser, u.Organization):
		return nil, &problem{permissionDenied, "AUTHZ-HKJD33", "Errors.PermissionDenied"}
	}
	return u, nil
}

func createUser(c *call) (any, *problem) {
	var r struct {
		userID
		OrganizationID string     `json:"organizationId"`
		Username       string     `json:"username"`
		Machine        *machineIn `json:"machine"`
	}
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	if r.Machine == nil {
		return nil, &problem{invalidArgument, "USER-2", "machine is required: the development provider creates no people"}
	}
	id, wrong := c.create(User{ID: r.UserID, Username: r.Username, Organization: r.OrganizationID}, *r.Machine)
	if wrong != nil {
		return nil, wrong
	}
	return map[string]any{"id": id, "creationDate": stamp(time.Now())}, nil
}

func createMachineV1(c *call) (any, *problem) {
	var r struct {
		userID
		Username string `json:"userName"`
		machineIn
	}
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	if r.Username == "" {
		return nil, &problem{invalidArgument, "V1-1", "invalid AddMachineUserRequest.UserName: value length must be between 1 and 200 runes, inclusive"}
	}
	id, wrong := c.create(User{ID: r.UserID, Username: r.Username, Organization: c.organization}, r.machineIn)
	if wrong != nil {
		return nil, wrong
	}
	return map[string]any{"userId": id, "details": details(c.organization)}, nil
}

func (c *call) create(u User, m machineIn) (string, *problem) {
	if !c.may(writeUser, u.Organization) {
		return "", noRight()
	}
	u.Machine = true
	if wrong := m.into(&u); wrong != nil {
		return "", wrong
	}
	if u.Name == "" {
		return "", &problem{invalidArgument, "V2-5WcB8", "Errors.User.Name.Empty"}
	}
	id, err := c.addUser(u)
	if err != nil {
		return "", exists("COMMAND-k2unb", "User")
	}
	c.hide("user " + id)
	return id, nil
}

func deleteUser(v2 bool) method {
	return func(c *call) (any, *problem) {
		u, wrong := c.own(v2)
		if wrong != nil {
			return nil, wrong
		}
		_ = c.deleteUser(u.ID) // it is there
		return map[string]any{"details": details(u.Organization)}, nil
	}
}

func changeState(v2 bool, change func(*user) *problem) method {
	return func(c *call) (any, *problem) {
		u, wrong := c.own(v2)
		if wrong != nil {
			return nil, wrong
		}
		return map[string]any{"details": details(u.Organization)}, change(u)
	}
}

func (u *user) state() string {
	switch {
	case u.inactive:
		return userInactive
	case u.locked:
		return userLocked
	}
	return userActive
}

// kind is what is particular to a machine, or to a person.
func (u *user) kind(into map[string]any) map[string]any {
	if !u.Machine {
		into["human"] = map[string]any{"profile": map[string]any{"displayName": u.Name}}
		return into
	}
	m := map[string]any{"name": cmp.Or(u.Name, u.Username), "description": u.Description}
	if u.TokenType == JWT { // the other one is the default, which the API leaves out
		m["accessTokenType"] = tokenTypeOfJWT
	}
	into["machine"] = m
	return into
}

func (u *user) v2() map[string]any {
	return u.kind(map[string]any{"userId": u.ID, "details": details(u.Organization), "state": u.state(), "username": u.Username, "preferredLoginName": u.Username})
}

func (u *user) v1() map[string]any {
	return u.kind(map[string]any{"id": u.ID, "details": details(u.Organization), "state": u.state(), "userName": u.Username, "preferredLoginName": u.Username})
}

// metadata are the methods of users' metadata.
func (m *management) metadata() []endpoint {
	const service = "zitadel.user.v2.UserService/"
	type pair struct {
		Key   string `json:"key"`
		Value []byte `json:"value"`
	}
	list := func(u *user) []any {
		all := []any{}
		for _, key := range slices.Sorted(maps.Keys(u.Metadata)) {
			all = append(all, pair{key, []byte(u.Metadata[key])})
		}
		return all
	}
	set := func(u *user, p pair) {
		if u.Metadata == nil {
			u.Metadata = map[string]string{}
		}
		if u.Metadata[p.Key] = string(p.Value); len(p.Value) == 0 {
			delete(u.Metadata, p.Key)
		}
	}
	return []endpoint{
		{service + "SetUserMetadata", "POST /v2/users/{userId}/metadata", func(c *call) (any, *problem) {
			var r struct {
				userID
				Metadata []pair `json:"metadata"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			u, wrong := c.find(r.UserID, true)
			if wrong != nil {
				return nil, wrong
			}
			for _, p := range r.Metadata {
				set(u, p)
			}
			return map[string]any{"setDate": stamp(time.Now())}, nil
		}},
		{service + "ListUserMetadata", "POST /v2/users/{userId}/metadata/search", func(c *call) (any, *problem) {
			u, wrong := c.own(true)
			if wrong != nil {
				return nil, wrong
			}
			return paged("metadata", list(u)), nil
		}},
		{"", "POST /management/v1/users/{userId}/metadata/{key}", func(c *call) (any, *problem) {
			var r struct {
				userID
				pair
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			u, wrong := c.find(r.UserID, false)
			if wrong != nil {
				return nil, wrong
			}
			set(u, r.pair)
			return map[string]any{"details": details(u.Organization)}, nil
		}},
		{"", "POST /management/v1/users/{userId}/metadata/_search", func(c *call) (any, *problem) {
			u, wrong := c.own(false)
			if wrong != nil {
				return nil, wrong
			}
			return result(list(u)), nil
		}},
	}
}
