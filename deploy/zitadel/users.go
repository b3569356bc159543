package zitadel

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// Standing is whose a user id is.
type Standing int

// Standings.
const (
	// None says that the account sees no such user. It may be that of another
	// organization all the same, and it may be gone for good.
	None Standing = iota
	// Ours is a machine user of the organization.
	Ours
	// NotMachine is a person of the organization.
	NotMachine
	// OtherOrganization is a user that the account may not manage, or one of another
	// organization.
	OtherOrganization
)

// State is whether a user gets tokens.
type State string

// States, as the API names them.
const (
	Active   State = "USER_STATE_ACTIVE"
	Inactive State = "USER_STATE_INACTIVE"
	Locked   State = "USER_STATE_LOCKED"
)

// User is what the provider says of an id.
type User struct {
	ID           string
	Standing     Standing
	Username     string
	Description  string
	Organization string
	State        State
	JWT          bool // its access tokens are JWTs
}

// Device is a machine user to be.
type Device struct {
	ID          string // its user id, username and name
	Description string
}

// shape is a user as both generations write it.
type shape struct {
	ID      string `json:"id"`     // v1
	UserID  string `json:"userId"` // v2
	Details struct {
		Owner string `json:"resourceOwner"`
	} `json:"details"`
	State    State  `json:"state"`
	Username string `json:"username"` // v2
	UserName string `json:"userName"` // v1
	Machine  *struct {
		Description     string `json:"description"`
		AccessTokenType string `json:"accessTokenType"`
	} `json:"machine"`
}

const jwtType = "ACCESS_TOKEN_TYPE_JWT"

func (c *Client) read(s shape) User {
	u := User{ID: s.UserID + s.ID, Standing: Ours, Organization: s.Details.Owner, State: s.State}
	if u.Username = s.Username; u.Username == "" {
		u.Username = s.UserName
	}
	if s.Machine != nil {
		u.Description, u.JWT = s.Machine.Description, s.Machine.AccessTokenType == jwtType
	}
	switch {
	case u.Organization != c.Organization:
		u.Standing = OtherOrganization
	case s.Machine == nil:
		u.Standing = NotMachine
	}
	return u
}

// LookUp says whose an id is.
func (c *Client) LookUp(ctx context.Context, id string) (User, error) {
	var found struct {
		User shape `json:"user"`
	}
	_, err := c.ask(ctx, question{"look up user " + id, "GetUserByID", needsUserManager},
		way{http.MethodGet, "/v2/users/" + url.PathEscape(id), nil, &found},
		way{http.MethodGet, "/management/v1/users/" + url.PathEscape(id), nil, &found})
	switch {
	case errors.Is(err, ErrNotFound):
		return User{ID: id}, nil
	case errors.Is(err, ErrNoRight): // of v2, for another organization's user
		return User{ID: id, Standing: OtherOrganization}, nil
	case err != nil:
		return User{}, err
	}
	return c.read(found.User), nil
}

// machine is a machine user that is made. The id may be empty: the provider makes one.
type machine struct{ id, username, description string }

// create gives the user's id. It fails with ErrExists.
func (c *Client) create(ctx context.Context, m machine) (id string, err error) {
	type config struct {
		Name            string `json:"name"`
		Description     string `json:"description,omitempty"`
		AccessTokenType string `json:"accessTokenType"`
	}
	how := config{m.username, m.description, jwtType}
	var made struct {
		ID     string `json:"id"`     // v2
		UserID string `json:"userId"` // v1
	}
	_, err = c.ask(ctx, question{"create user " + m.username, "CreateUser", needsUserManager},
		way{http.MethodPost, "/v2/users/new", struct {
			Organization string `json:"organizationId"`
			UserID       string `json:"userId,omitempty"`
			Username     string `json:"username"`
			Machine      config `json:"machine"`
		}{c.Organization, m.id, m.username, how}, &made},
		way{http.MethodPost, "/management/v1/users/machine", struct {
			UserID   string `json:"userId,omitempty"`
			Username string `json:"userName"`
			config
		}{m.id, m.username, how}, &made})
	return made.ID + made.UserID, err
}

// EnsureDevice makes the machine user of a device, whose user id is the device's id
// and whose tokens are JWTs. created is false where the organization has it already:
// then it is made active, and its tokens JWTs. Whether the device of that id is the
// one that is meant, its Keys and the fleet tell. It fails with ErrOtherOrganization,
// ErrNotMachine and ErrNameTaken.
func (c *Client) EnsureDevice(ctx context.Context, d Device) (created bool, err error) {
	_, err = c.create(ctx, machine{d.ID, d.ID, d.Description})
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, ErrExists) {
		return false, err
	}
	taken := &Refusal{Doing: "create user " + d.ID, Organization: c.Organization, Kind: ErrOtherOrganization}
	var u User
	ours, err := c.settled(ctx, func() (bool, error) { // a server may not show yet what was just made
		var err error
		if u, err = c.LookUp(ctx, d.ID); err != nil {
			return false, err
		}
		switch u.Standing {
		case Ours:
			return true, nil
		case NotMachine:
			taken.Kind = ErrNotMachine
			return false, taken
		case OtherOrganization:
			return false, taken
		}
		other, found, err := c.byUsername(ctx, d.ID)
		if err == nil && found && other.ID != d.ID {
			taken.Kind = ErrNameTaken
			return false, taken
		}
		return false, err
	})
	switch {
	case err != nil:
		return false, err
	case !ours:
		return false, taken
	}
	return false, c.mend(ctx, u)
}

// mend makes a machine user get tokens, and JWTs.
func (c *Client) mend(ctx context.Context, u User) error {
	switch u.State {
	case Inactive:
		if err := c.Reactivate(ctx, u.ID); err != nil {
			return err
		}
	case Locked:
		if err := c.change(ctx, u.ID, "unlock", "UnlockUser"); err != nil {
			return err
		}
	}
	if u.JWT {
		return nil
	}
	return c.useJWT(ctx, u)
}

func (c *Client) useJWT(ctx context.Context, u User) error {
	id := url.PathEscape(u.ID)
	type form struct {
		AccessTokenType string `json:"accessTokenType"`
	}
	_, err := c.ask(ctx, question{"make the tokens of user " + u.ID + " JWTs", "UpdateUser", needsUserManager},
		connect("zitadel.user.v2.UserService/UpdateUser", struct {
			UserID  string `json:"userId"`
			Machine form   `json:"machine"`
		}{u.ID, form{jwtType}}, nil),
		way{http.MethodPut, "/management/v1/users/" + id + "/machine", struct { // it replaces all
			Name        string `json:"name"`
			Description string `json:"description,omitempty"`
			form
		}{u.Username, u.Description, form{jwtType}}, nil})
	return err
}

// byUsername finds a user of the organization. A new one may be missing for a while.
func (c *Client) byUsername(ctx context.Context, username string) (User, bool, error) {
	type named struct {
		Username string `json:"userName"`
		Method   string `json:"method"`
	}
	type owned struct {
		ID string `json:"organizationId"`
	}
	type query struct {
		Name  *named `json:"userNameQuery,omitempty"`
		Owner *owned `json:"organizationIdQuery,omitempty"`
	}
	type queries struct {
		Queries []query `json:"queries"`
	}
	name := query{Name: &named{username, "TEXT_QUERY_METHOD_EQUALS"}}
	var found struct {
		Result []shape `json:"result"`
	}
	_, err := c.ask(ctx, question{"find user " + username, "ListUsers", needsUserManager},
		way{http.MethodPost, "/v2/users", queries{[]query{name, {Owner: &owned{c.Organization}}}}, &found},
		way{http.MethodPost, "/management/v1/users/_search", queries{[]query{name}}, &found})
	if err != nil || len(found.Result) == 0 {
		return User{}, false, err
	}
	return c.read(found.Result[0]), true, nil
}

// change changes a user's state.
func (c *Client) change(ctx context.Context, id, verb, method string) error {
	_, err := c.ask(ctx, question{verb + " user " + id, method, needsUserManager},
		way{http.MethodPost, "/v2/users/" + url.PathEscape(id) + "/" + verb, nil, nil},
		way{http.MethodPost, "/management/v1/users/" + url.PathEscape(id) + "/_" + verb, nil, nil})
	return err
}

// Deactivate takes a user's tokens: it gets no new ones. One that is inactive stays so.
func (c *Client) Deactivate(ctx context.Context, id string) error {
	return c.unlessAlready(ctx, id, Inactive, c.change(ctx, id, "deactivate", "DeactivateUser"))
}

// Reactivate lets a user get tokens again. One that is active stays so.
func (c *Client) Reactivate(ctx context.Context, id string) error {
	return c.unlessAlready(ctx, id, Active, c.change(ctx, id, "reactivate", "ReactivateUser"))
}

// unlessAlready forgives a refusal where the user is in the state that was asked for.
func (c *Client) unlessAlready(ctx context.Context, id string, wanted State, err error) error {
	if !errors.Is(err, ErrState) {
		return err
	}
	if u, looked := c.LookUp(ctx, id); looked == nil && u.State == wanted {
		return nil
	}
	return err
}

// Delete removes a user for good: its id may never be given again. One that is gone
// is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.ask(ctx, question{"delete user " + id, "DeleteUser", needsUserManager},
		way{http.MethodDelete, "/v2/users/" + url.PathEscape(id), nil, nil},
		way{http.MethodDelete, "/management/v1/users/" + url.PathEscape(id), nil, nil})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
