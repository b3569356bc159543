package zitadel

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

const projectService = "zitadel.project.v2.ProjectService/"

// Project has the fleet's roles and applications.
type Project struct {
	ID            string
	Name          string
	RoleAssertion bool // roles are put into tokens
	Roles         []string
	old           projectShape
}

// projectShape is a project as both generations write it.
type projectShape struct {
	ID              string `json:"id,omitempty"`        // v1
	ProjectID       string `json:"projectId,omitempty"` // v2
	Name            string `json:"name"`
	RoleAssertion   bool   `json:"projectRoleAssertion,omitempty"`
	RoleCheck       bool   `json:"projectRoleCheck,omitempty"` // v1
	HasProjectCheck bool   `json:"hasProjectCheck,omitempty"`  // v1
	Labeling        string `json:"privateLabelingSetting,omitempty"`
}

// FindProject finds a project of the organization by its name, with its roles.
func (c *Client) FindProject(ctx context.Context, name string) (p Project, found bool, err error) {
	type named struct {
		Name   string `json:"projectName"`
		Method string `json:"method"`
	}
	type owned struct {
		ID string `json:"organizationId"`
	}
	type filter struct {
		Name  *named `json:"projectNameFilter,omitempty"`
		Owner *owned `json:"organizationIdFilter,omitempty"`
	}
	type query struct {
		Name textIs `json:"nameQuery"`
	}
	var out struct {
		Projects []projectShape `json:"projects"`
		Result   []projectShape `json:"result"` // v1
	}
	_, err = c.ask(ctx, question{"find project " + name, "ListProjects", needsOwner},
		connect(projectService+"ListProjects", struct {
			Filters []filter `json:"filters"`
		}{[]filter{{Name: &named{name, "TEXT_FILTER_METHOD_EQUALS"}}, {Owner: &owned{c.Organization}}}}, &out),
		way{http.MethodPost, "/management/v1/projects/_search", struct {
			Queries []query `json:"queries"`
		}{[]query{{textIs{name, equals}}}}, &out})
	all := slices.Concat(out.Projects, out.Result)
	if err != nil || len(all) == 0 {
		return Project{}, false, err
	}
	p = Project{ID: all[0].ProjectID + all[0].ID, Name: all[0].Name, RoleAssertion: all[0].RoleAssertion, old: all[0]}
	p.Roles, err = c.roles(ctx, p.ID)
	return p, true, err
}

// EnsureProject makes a project in the organization, unless one of that name is there.
func (c *Client) EnsureProject(ctx context.Context, name string) (p Project, created bool, err error) {
	in := projectShape{Name: name, RoleAssertion: true}
	var made projectShape
	q := question{"make project " + name, "CreateProject", needsOwner}
	_, err = c.ask(ctx, q,
		connect(projectService+"CreateProject", struct {
			Organization string `json:"organizationId"`
			projectShape
		}{c.Organization, in}, &made),
		way{http.MethodPost, "/management/v1/projects", in, &made})
	if !errors.Is(err, ErrExists) {
		return Project{ID: made.ProjectID + made.ID, Name: name, RoleAssertion: true}, err == nil, err
	}
	_, err = c.existing(ctx, q, func() (id string, found bool, err error) {
		p, found, err = c.FindProject(ctx, name)
		return p.ID, found, err
	})
	return p, false, err
}

// AssertRoles makes a project put roles into tokens.
func (c *Client) AssertRoles(ctx context.Context, p Project) error {
	old := p.old // v1 replaces all
	old.ID, old.ProjectID, old.Name, old.RoleAssertion = "", "", p.Name, true
	_, err := c.ask(ctx, question{"turn on the role assertion of project " + p.Name, "UpdateProject", needsOwner},
		connect(projectService+"UpdateProject", struct {
			ID            string `json:"projectId"`
			RoleAssertion bool   `json:"projectRoleAssertion"`
		}{p.ID, true}, nil),
		way{http.MethodPut, "/management/v1/projects/" + url.PathEscape(p.ID), old, nil})
	return err
}

func (c *Client) roles(ctx context.Context, project string) ([]string, error) {
	type role struct {
		Key string `json:"key"`
	}
	var out struct {
		Roles  []role `json:"projectRoles"`
		Result []role `json:"result"` // v1
	}
	_, err := c.ask(ctx, question{"list the roles of project " + project, "ListProjectRoles", needsOwner},
		connect(projectService+"ListProjectRoles", map[string]string{"projectId": project}, &out),
		way{http.MethodPost, "/management/v1/projects/" + url.PathEscape(project) + "/roles/_search", nil, &out})
	var all []string
	for _, r := range slices.Concat(out.Roles, out.Result) {
		all = append(all, r.Key)
	}
	return all, err
}

// EnsureRole adds a role to a project, unless it is there.
func (c *Client) EnsureRole(ctx context.Context, project, key, displayName string) (created bool, err error) {
	in := map[string]string{"roleKey": key, "displayName": displayName}
	_, err = c.ask(ctx, question{"add role " + key, "AddProjectRole", needsOwner},
		connect(projectService+"AddProjectRole", map[string]string{"projectId": project, "roleKey": key, "displayName": displayName}, nil),
		way{http.MethodPost, "/management/v1/projects/" + url.PathEscape(project) + "/roles", in, nil})
	if errors.Is(err, ErrExists) {
		return false, nil
	}
	return err == nil, err
}
