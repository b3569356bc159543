package devprovider

import (
	"maps"
	"slices"
	"time"
)

type projectID struct {
	ProjectID string `json:"projectId"`
}

type projectIn struct {
	Name          *string `json:"name"`
	RoleAssertion *bool   `json:"projectRoleAssertion"`
}

func (in projectIn) into(p *Project) {
	if in.Name != nil {
		p.Name = *in.Name
	}
	if in.RoleAssertion != nil {
		p.RoleAssertion = *in.RoleAssertion
	}
}

type roleIn struct {
	projectID
	Key         string `json:"roleKey"`
	DisplayName string `json:"displayName"`
	Group       string `json:"group"`
}

type textQuery struct {
	Name        string `json:"name"`
	ProjectName string `json:"projectName"`
	Method      string `json:"method"`
}

// projects are the methods of projects and their roles.
func (m *management) projects() []endpoint {
	const service = "zitadel.project.v2.ProjectService/"
	return []endpoint{
		{service + "CreateProject", "", func(c *call) (any, *problem) {
			var r struct {
				OrganizationID string `json:"organizationId"`
				projectIn
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			p, wrong := c.addProject(r.OrganizationID, r.projectIn)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"projectId": p.ID, "creationDate": stamp(time.Now())}, nil
		}},
		{service + "UpdateProject", "", updateProject},
		{service + "DeleteProject", "", removeProject},
		{service + "ListProjects", "", func(c *call) (any, *problem) {
			var r struct {
				Pagination any `json:"pagination"`
				Filters    []struct {
					Name         *textQuery `json:"projectNameFilter"`
					Organization *struct {
						ID   string `json:"organizationId"`
						Type string `json:"type"`
					} `json:"organizationIdFilter"`
				} `json:"filters"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachProject(func(p *Project) {
				for _, f := range r.Filters {
					if f.Name != nil && !matches(f.Name.Method, f.Name.ProjectName, p.Name) || f.Organization != nil && f.Organization.ID != p.Organization {
						return
					}
				}
				all = append(all, map[string]any{
					"projectId": p.ID, "organizationId": p.Organization, "name": p.Name, "state": "PROJECT_STATE_ACTIVE", "projectRoleAssertion": p.RoleAssertion,
				})
			})
			return paged("projects", all), nil
		}},
		{service + "AddProjectRole", "", addRole},
		{service + "RemoveProjectRole", "", removeRole},
		{service + "ListProjectRoles", "", func(c *call) (any, *problem) {
			return c.listRoles(func(all []any) any { return paged("projectRoles", all) })
		}},

		{"", "POST /management/v1/projects", func(c *call) (any, *problem) {
			var r projectIn
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			p, wrong := c.addProject(c.organization, r)
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"id": p.ID, "details": details(p.Organization)}, nil
		}},
		{"", "PUT /management/v1/projects/{projectId}", updateProject},
		{"", "DELETE /management/v1/projects/{projectId}", removeProject},
		{"", "POST /management/v1/projects/_search", func(c *call) (any, *problem) {
			var r struct {
				Query   any `json:"query"`
				Queries []struct {
					Name *textQuery `json:"nameQuery"`
				} `json:"queries"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			all := []any{}
			c.eachProject(func(p *Project) {
				for _, q := range r.Queries {
					if q.Name != nil && !matches(q.Name.Method, q.Name.Name, p.Name) {
						return
					}
				}
				if p.Organization == c.organization {
					all = append(all, map[string]any{
						"id": p.ID, "name": p.Name, "state": "PROJECT_STATE_ACTIVE", "projectRoleAssertion": p.RoleAssertion, "details": details(p.Organization),
					})
				}
			})
			return result(all), nil
		}},
		{"", "POST /management/v1/projects/{projectId}/roles", addRole},
		{"", "DELETE /management/v1/projects/{projectId}/roles/{roleKey}", removeRole},
		{"", "POST /management/v1/projects/{projectId}/roles/_search", func(c *call) (any, *problem) { return c.listRoles(func(all []any) any { return result(all) }) }},
	}
}

func roleID(project, key string) string { return "role " + project + " " + key }

// project finds one in which the caller has a right.
func (c *call) project(id string, r right) (*Project, *problem) {
	p := c.projects[id]
	switch {
	case p == nil:
		return nil, unknown("PROJECT-1", "Project")
	case !c.may(r, p.Organization):
		return nil, noRight()
	}
	return p, nil
}

func (c *call) addProject(organization string, in projectIn) (*Project, *problem) {
	if !c.may(writeProject, organization) {
		return nil, noRight()
	}
	p := &Project{ID: c.id(), Organization: organization}
	if in.into(p); p.Name == "" {
		return nil, &problem{invalidArgument, "PROJECT-IOVCC", "Errors.Project.Invalid"}
	}
	for _, other := range c.projects {
		if other.Organization == organization && other.Name == p.Name {
			return nil, exists("V3-DKcYh", "Project")
		}
	}
	c.projects[p.ID] = p
	c.hide("project " + p.ID)
	return p, nil
}

func updateProject(c *call) (any, *problem) {
	var r struct {
		projectID
		projectIn
	}
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	p, wrong := c.project(r.ProjectID, writeProject)
	if wrong != nil {
		return nil, wrong
	}
	r.into(p)
	return map[string]any{"changeDate": stamp(time.Now())}, nil
}

func removeProject(c *call) (any, *problem) {
	var r projectID
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	if _, wrong := c.project(r.ProjectID, writeProject); wrong != nil {
		return nil, wrong
	}
	c.deleteProject(r.ProjectID)
	return map[string]any{"deletionDate": stamp(time.Now())}, nil
}

// deleteProject removes a project with its applications. mu is held.
func (d *directory) deleteProject(id string) {
	delete(d.projects, id)
	for client, a := range d.applications {
		if a.Project == id {
			delete(d.applications, client)
			d.deleteKeysOf(client)
		}
	}
}

// eachProject yields those that searches show to the caller.
func (c *call) eachProject(yield func(*Project)) {
	for _, id := range slices.Sorted(maps.Keys(c.projects)) {
		if p := c.projects[id]; c.visible("project "+id) && c.may(readProject, p.Organization) {
			yield(p)
		}
	}
}

func addRole(c *call) (any, *problem) {
	var r roleIn
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	p, wrong := c.project(r.ProjectID, writeProject)
	switch {
	case wrong != nil:
		return nil, wrong
	case r.Key == "" || r.DisplayName == "":
		return nil, &problem{invalidArgument, "PROJECT-4m9vS", "Errors.Project.Role.Invalid"}
	case slices.Contains(p.Roles, r.Key):
		return nil, exists("V3-DKcYh", "Role")
	}
	p.Roles = append(p.Roles, r.Key)
	c.hide(roleID(p.ID, r.Key))
	return map[string]any{"creationDate": stamp(time.Now())}, nil
}

func removeRole(c *call) (any, *problem) {
	var r roleIn
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	p, wrong := c.project(r.ProjectID, writeProject)
	if wrong != nil {
		return nil, wrong
	}
	p.Roles = slices.DeleteFunc(p.Roles, func(key string) bool { return key == r.Key })
	return map[string]any{"removalDate": stamp(time.Now())}, nil
}

func (c *call) listRoles(answer func([]any) any) (any, *problem) {
	var r struct {
		projectID
		Query      any `json:"query"`
		Pagination any `json:"pagination"`
	}
	if wrong := c.into(&r); wrong != nil {
		return nil, wrong
	}
	p, wrong := c.project(r.ProjectID, readProject)
	if wrong != nil {
		return nil, wrong
	}
	all := []any{}
	for _, key := range p.Roles {
		if c.visible(roleID(p.ID, key)) {
			all = append(all, map[string]any{"projectId": p.ID, "key": key, "displayName": key})
		}
	}
	return answer(all), nil
}
