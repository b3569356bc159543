package devprovider

import (
	"slices"
	"strings"
)

type userQuery struct {
	Type *struct {
		Type string `json:"type"`
	} `json:"typeQuery"`
	Username *struct {
		Username string `json:"userName"`
		Method   string `json:"method"`
	} `json:"userNameQuery"`
	Organization *struct {
		ID string `json:"organizationId"`
	} `json:"organizationIdQuery"`
	IDs *struct {
		IDs []string `json:"userIds"`
	} `json:"inUserIdsQuery"`
}

func (q userQuery) takes(u *user) bool {
	return (q.Type == nil || (q.Type.Type == "TYPE_MACHINE") == u.Machine) &&
		(q.Username == nil || matches(q.Username.Method, q.Username.Username, u.Username)) &&
		(q.Organization == nil || q.Organization.ID == u.Organization) &&
		(q.IDs == nil || slices.Contains(q.IDs.IDs, u.ID))
}

// matches compares as the API's methods say: equals is the default.
func matches(method, asked, text string) bool {
	if strings.HasSuffix(method, "_CONTAINS") {
		return strings.Contains(text, asked)
	}
	return asked == text
}

func (c *call) search(v2 bool) ([]any, *problem) {
	var r struct {
		Query   any         `json:"query"`
		Queries []userQuery `json:"queries"`
	}
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	all := []any{}
	for _, u := range c.users {
		if !c.visible("user "+u.ID) || !c.may(writeUser, u.Organization) || slices.ContainsFunc(r.Queries, func(q userQuery) bool { return !q.takes(u) }) {
			continue
		}
		switch {
		case v2:
			all = append(all, u.v2())
		case u.Organization == c.organization:
			all = append(all, u.v1())
		}
	}
	return all, nil
}

func searchUsersV2(c *call) (any, *problem) {
	all, wrong := c.search(true)
	if wrong != nil {
		return nil, wrong
	}
	return result(all), nil
}

func searchUsersV1(c *call) (any, *problem) {
	if !c.may(writeUser, c.organization) {
		return nil, noRight()
	}
	all, wrong := c.search(false)
	if wrong != nil {
		return nil, wrong
	}
	return result(all), nil
}
