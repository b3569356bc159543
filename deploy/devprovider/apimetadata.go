package devprovider

import (
	"maps"
	"slices"
	"time"
)

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
