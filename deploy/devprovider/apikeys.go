package devprovider

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"slices"
	"time"
)

type idFilter struct {
	ID string `json:"id"`
}

type keyIn struct {
	userID
	Type           string     `json:"type"` // of v1
	ExpirationDate *time.Time `json:"expirationDate"`
	PublicKey      []byte     `json:"publicKey"` // PEM
}

// keysOfUsers are the methods of machine users' keys.
func (m *management) keysOfUsers() []endpoint {
	const service = "zitadel.user.v2.UserService/"
	return []endpoint{
		{service + "AddKey", "POST /v2/users/{userId}/keys", func(c *call) (any, *problem) {
			id, content, wrong := c.addKeyOf(true)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"keyId": id, "keyContent": content, "creationDate": stamp(time.Now())}, nil
		}},
		{service + "RemoveKey", "DELETE /v2/users/{userId}/keys/{keyId}", removeKey(true)},
		{service + "ListKeys", "POST /v2/users/keys/search", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					User *idFilter `json:"userIdFilter"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			for id, u := range c.users {
				asked := true
				for _, f := range r.Filters {
					asked = asked && (f.User == nil || f.User.ID == id)
				}
				if !asked || !c.may(writeUser, u.Organization) {
					continue
				}
				c.eachKey(id, func(keyID string, k *publicKey) {
					all = append(all, map[string]any{
						"id": keyID, "userId": id, "organizationId": u.Organization, "creationDate": stamp(k.made), "expirationDate": stamp(k.ends),
					})
				})
			}
			return paged("result", all), nil
		}},
		{"", "POST /management/v1/users/{userId}/keys", func(c *call) (any, *problem) {
			id, content, wrong := c.addKeyOf(false)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"keyId": id, "keyDetails": content, "details": details(c.organization)}, nil
		}},
		{"", "DELETE /management/v1/users/{userId}/keys/{keyId}", removeKey(false)},
		{"", "POST /management/v1/users/{userId}/keys/_search", func(c *call) (any, *problem) {
			var r struct {
				userID
				Query any `json:"query"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			if _, wrong := c.find(r.UserID, false); wrong != nil {
				return nil, wrong
			}
			return result(c.keysV1(r.UserID)), nil
		}},
	}
}

// keysV1 are the keys of a user or a client, as v1 shows them.
func (c *call) keysV1(owner string) []any {
	all := []any{}
	c.eachKey(owner, func(id string, k *publicKey) {
		of := details(c.organization)
		of["creationDate"] = stamp(k.made)
		all = append(all, map[string]any{"id": id, "type": "KEY_TYPE_JSON", "details": of, "expirationDate": stamp(k.ends)})
	})
	return all
}

// eachKey yields the keys that searches show, ended ones too.
func (c *call) eachKey(owner string, yield func(id string, k *publicKey)) {
	for _, id := range slices.Sorted(maps.Keys(c.keys)) {
		if k := c.keys[id]; k.owner == owner && !time.Now().Before(k.seen) {
			yield(id, k)
		}
	}
}

// addKeyOf makes a key for a machine user, or takes the public half of one.
func (c *call) addKeyOf(v2 bool) (id string, content []byte, wrong *problem) {
	var r keyIn
	if wrong := c.into(&r); wrong != nil {
		return "", nil, wrong
	}
	u, wrong := c.find(r.UserID, v2)
	switch {
	case wrong != nil:
		return "", nil, wrong
	case !u.Machine:
		return "", nil, &problem{failedPrecondition, "COMMAND-bkM3s", "Errors.User.WrongType"}
	case !v2 && r.Type != "KEY_TYPE_JSON", v2 && r.Type != "":
		return "", nil, &problem{invalidArgument, "V1-2", "invalid key type"}
	}
	ends, wrong := r.ends()
	if wrong != nil {
		return "", nil, wrong
	}
	if len(r.PublicKey) > 0 {
		public, err := parsePublic(r.PublicKey)
		if err != nil {
			return "", nil, &problem{invalidArgument, "COMMAND-djk3s", "Errors.User.Machine.Key.Invalid: " + err.Error()}
		}
		return c.addKey(u.ID, public, ends), []byte{}, nil
	}
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return "", nil, &problem{invalidArgument, "CRYPTO-1", err.Error()}
	}
	id = c.addKey(u.ID, &private.PublicKey, ends)
	content, err = encodeKey(private, KeyFile{Type: "serviceaccount", KeyID: id, UserID: u.ID, ExpirationDate: date(ends)})
	if err != nil {
		return "", nil, &problem{invalidArgument, "CRYPTO-2", err.Error()}
	}
	return id, content, nil
}

// ends is when the key expires. Zitadel's default is far away.
func (r keyIn) ends() (time.Time, *problem) {
	switch {
	case r.ExpirationDate == nil:
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), nil
	case !r.ExpirationDate.After(time.Now()):
		return time.Time{}, &problem{invalidArgument, "DOMAIN-dv3t5", "Errors.AuthNKey.ExpireBeforeNow"}
	}
	return *r.ExpirationDate, nil
}

func removeKey(v2 bool) method {
	return func(c *call) (any, *problem) {
		var r struct {
			userID
			KeyID string `json:"keyId"`
		}
		if wrong := c.into(&r); wrong != nil {
			return nil, wrong
		}
		u, wrong := c.find(r.UserID, v2)
		if wrong != nil {
			return nil, wrong
		}
		if k := c.keys[r.KeyID]; k == nil || k.owner != u.ID {
			return nil, unknown("COMMAND-4m77G", "Machine key")
		}
		delete(c.keys, r.KeyID)
		return map[string]any{"details": details(u.Organization)}, nil
	}
}

// keysOfApplications are the methods of the keys of APIs.
func (m *management) keysOfApplications() []endpoint {
	const service = applicationService
	return []endpoint{
		{service + "CreateApplicationKey", "", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				keyIn
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			id, content, wrong := c.newApplicationKey(r.ProjectID, r.ApplicationID, r.keyIn)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"keyId": id, "keyDetails": content, "creationDate": stamp(time.Now())}, nil
		}},
		{service + "ListApplicationKeys", "", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					Application *struct {
						ID string `json:"applicationId"`
					} `json:"applicationIdFilter"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachApplication(func(a Application) {
				for _, f := range r.Filters {
					if f.Application != nil && f.Application.ID != a.ID {
						return
					}
				}
				c.eachKey(a.ClientID, func(id string, k *publicKey) {
					all = append(all, map[string]any{"keyId": id, "applicationId": a.ID, "projectId": a.Project, "expirationDate": stamp(k.ends)})
				})
			})
			return paged("keys", all), nil
		}},
		{service + "DeleteApplicationKey", "", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				KeyID string `json:"keyId"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			a, wrong := c.application(r.ProjectID, r.ApplicationID)
			if wrong != nil {
				return nil, wrong
			}
			if k := c.keys[r.KeyID]; k == nil || k.owner != a.ClientID {
				return nil, unknown("COMMAND-4m77H", "Application key")
			}
			delete(c.keys, r.KeyID)
			return map[string]any{"deletionDate": stamp(time.Now())}, nil
		}},
		{"", "POST /management/v1/projects/{projectId}/apps/{appId}/keys", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				keyIn
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			if r.Type != "KEY_TYPE_JSON" {
				return nil, &problem{invalidArgument, "V1-3", "invalid key type"}
			}
			id, content, wrong := c.newApplicationKey(r.ProjectID, r.AppID, r.keyIn)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"id": id, "keyDetails": content, "details": details(c.organization)}, nil
		}},
		{"", "POST /management/v1/projects/{projectId}/apps/{appId}/keys/_search", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				Query any `json:"query"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			a, wrong := c.application(r.ProjectID, r.AppID)
			if wrong != nil {
				return nil, wrong
			}
			return result(c.keysV1(a.ClientID)), nil
		}},
	}
}

// newApplicationKey makes a key for an API.
func (c *call) newApplicationKey(project, id string, r keyIn) (string, []byte, *problem) {
	a, wrong := c.application(project, id)
	if wrong != nil {
		return "", nil, wrong
	}
	ends, wrong := r.ends()
	if wrong != nil {
		return "", nil, wrong
	}
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return "", nil, &problem{invalidArgument, "CRYPTO-3", err.Error()}
	}
	keyID := c.addKey(a.ClientID, &private.PublicKey, ends)
	content, err := encodeKey(private, KeyFile{Type: "application", KeyID: keyID, AppID: a.ID, ClientID: a.ClientID, ExpirationDate: date(ends)})
	if err != nil {
		return "", nil, &problem{invalidArgument, "CRYPTO-4", err.Error()}
	}
	return keyID, content, nil
}
