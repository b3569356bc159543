package devprovider

import (
	"maps"
	"slices"
	"time"
)

const applicationService = "zitadel.application.v2.ApplicationService/"

type apiIn struct {
	AuthMethodType string `json:"authMethodType"`
}

type applicationID struct {
	projectID
	ApplicationID string `json:"applicationId"`
	AppID         string `json:"appId"` // of v1
}

// applications are the methods of applications.
func (m *management) applications() []endpoint {
	const service = applicationService
	remove := func(c *call) (any, *problem) {
		var r applicationID
		if wrong := c.into(&r); wrong != nil {
			return nil, wrong
		}
		a, wrong := c.application(r.ProjectID, r.ApplicationID+r.AppID)
		if wrong != nil {
			return nil, wrong
		}
		delete(c.applications, a.ClientID)
		c.deleteKeysOf(a.ClientID)
		return map[string]any{"deletionDate": stamp(time.Now())}, nil
	}
	return []endpoint{
		{service + "CreateApplication", "", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				Name string `json:"name"`
				OIDC *OIDC  `json:"oidcConfiguration"`
				API  *apiIn `json:"apiConfiguration"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			a, wrong := c.newApplication(r.ProjectID, r.Name, r.OIDC, r.API)
			if wrong != nil {
				return nil, wrong
			}
			member := "apiConfiguration"
			if r.OIDC != nil {
				member = "oidcConfiguration"
			}
			return map[string]any{"applicationId": a.ID, "creationDate": stamp(time.Now()), member: map[string]any{"clientId": a.ClientID}}, nil
		}},
		{service + "UpdateApplication", "", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				Name string `json:"name"`
				OIDC *OIDC  `json:"oidcConfiguration"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return map[string]any{"changeDate": stamp(time.Now())}, c.configure(r.ProjectID, r.ApplicationID, r.OIDC)
		}},
		{service + "DeleteApplication", "", remove},
		{service + "ListApplications", "", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					Project *projectID `json:"projectIdFilter"`
					Name    *textQuery `json:"nameFilter"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachApplication(func(a Application) {
				for _, f := range r.Filters {
					if f.Project != nil && f.Project.ProjectID != a.Project || f.Name != nil && !matches(f.Name.Method, f.Name.Name, a.Name) {
						return
					}
				}
				all = append(all, a.v2())
			})
			return paged("applications", all), nil
		}},

		{"", "POST /management/v1/projects/{projectId}/apps/api", func(c *call) (any, *problem) {
			var r struct {
				projectID
				Name string `json:"name"`
				apiIn
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			return appOut(c.newApplication(r.ProjectID, r.Name, nil, &r.apiIn))
		}},
		{"", "POST /management/v1/projects/{projectId}/apps/oidc", func(c *call) (any, *problem) {
			var r struct {
				projectID
				oidcV1
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			o := r.v2()
			return appOut(c.newApplication(r.ProjectID, r.Name, &o, nil))
		}},
		{"", "PUT /management/v1/projects/{projectId}/apps/{appId}/oidc_config", func(c *call) (any, *problem) {
			var r struct {
				applicationID
				oidcV1
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			o := r.v2()
			return map[string]any{"details": details(c.organization)}, c.configure(r.ProjectID, r.AppID, &o)
		}},
		{"", "DELETE /management/v1/projects/{projectId}/apps/{appId}", remove},
		{"", "POST /management/v1/projects/{projectId}/apps/_search", func(c *call) (any, *problem) {
			var r struct {
				projectID
				Query   any `json:"query"`
				Queries []struct {
					Name *textQuery `json:"nameQuery"`
				} `json:"queries"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachApplication(func(a Application) {
				for _, q := range r.Queries {
					if q.Name != nil && !matches(q.Name.Method, q.Name.Name, a.Name) {
						return
					}
				}
				if a.Project == r.ProjectID {
					all = append(all, a.v1())
				}
			})
			return result(all), nil
		}},
	}
}

func appOut(a Application, wrong *problem) (any, *problem) {
	if wrong != nil {
		return nil, wrong
	}
	return map[string]any{"appId": a.ID, "clientId": a.ClientID, "details": details("")}, nil
}

// application finds one that the caller may change.
func (c *call) application(project, id string) (Application, *problem) {
	if _, wrong := c.project(project, writeProject); wrong != nil {
		return Application{}, wrong
	}
	for _, a := range c.applications {
		if a.ID == id && a.Project == project {
			return a, nil
		}
	}
	return Application{}, unknown("COMMAND-2fMkl", "Application")
}

func (c *call) newApplication(project, name string, o *OIDC, api *apiIn) (a Application, wrong *problem) {
	if _, wrong := c.project(project, writeProject); wrong != nil {
		return a, wrong
	}
	for _, other := range c.applications {
		if other.Project == project && other.Name == name {
			return a, exists("V3-DKcYh", "Application")
		}
	}
	a = Application{ID: c.id(), Project: project, Name: name}
	switch {
	case name == "" || (o == nil) == (api == nil):
		return a, &problem{invalidArgument, "PROJECT-1n8df", "Errors.Project.App.Invalid"}
	case api != nil && api.AuthMethodType != apiByPrivateKey:
		return a, &problem{invalidArgument, "PROJECT-2", "the development provider makes APIs that authenticate by a key alone"}
	case o != nil:
		a.OIDC, a.Native = o, isNative(o)
	}
	clientID, err := c.addApplication(a)
	if err != nil {
		return a, exists("V3-DKcYh", "Application")
	}
	a.ClientID = clientID
	c.hide("application " + a.ID)
	return a, nil
}

func (c *call) configure(project, id string, o *OIDC) *problem {
	a, wrong := c.application(project, id)
	switch {
	case wrong != nil:
		return wrong
	case o == nil || a.OIDC == nil:
		return &problem{invalidArgument, "COMMAND-GH4g2", "Errors.Project.App.IsNotOIDC"}
	}
	a.OIDC, a.Native = o, isNative(o)
	c.applications[a.ClientID] = a
	return nil
}

// eachApplication yields those that searches show to the caller.
func (c *call) eachApplication(yield func(Application)) {
	for _, id := range slices.Sorted(maps.Keys(c.applications)) {
		a := c.applications[id]
		p := c.projects[a.Project]
		if p != nil && c.visible("application "+a.ID) && c.may(readProject, p.Organization) {
			yield(a)
		}
	}
}

func (a Application) v2() map[string]any {
	out := map[string]any{"applicationId": a.ID, "name": a.Name, "state": "APPLICATION_STATE_ACTIVE"}
	if a.OIDC == nil {
		out["apiConfiguration"] = map[string]any{"clientId": a.ClientID, "authMethodType": apiByPrivateKey}
		return out
	}
	out["oidcConfiguration"] = struct {
		OIDC
		ClientID string `json:"clientId"`
	}{a.OIDC.withoutDefaults(), a.ClientID}
	return out
}

func (a Application) v1() map[string]any {
	out := map[string]any{"id": a.ID, "name": a.Name, "state": "APP_STATE_ACTIVE"}
	if a.OIDC == nil {
		out["apiConfig"] = map[string]any{"clientId": a.ClientID, "authMethodType": apiByPrivateKey}
		return out
	}
	out["oidcConfig"] = a.OIDC.withoutDefaults().v1(a.ClientID)
	return out
}
