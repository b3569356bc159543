package devprovider

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// organizations are the methods of organizations.
func (m *management) organizations() []endpoint {
	const service = "zitadel.org.v2.OrganizationService/"
	return []endpoint{
		{service + "AddOrganization", "POST /v2/organizations", func(c *call) (any, *problem) {
			id, wrong := c.addOrganization()
			if wrong != nil {
				return nil, wrong
			}
			return map[string]any{"organizationId": id, "details": details(id)}, nil
		}},
		{service + "ListOrganizations", "POST /v2/organizations/_search", searchOrganizations(true)},
		{service + "DeleteOrganization", "DELETE /v2/organizations/{organizationId}", func(c *call) (any, *problem) {
			var r struct {
				ID string `json:"organizationId"`
			}
			if wrong := c.into(&r); wrong != nil {
				return nil, wrong
			}
			if !c.may(createOrganization, r.ID) {
				return nil, noRight()
			}
			return map[string]any{}, c.deleteOrganization(r.ID)
		}},
		{"", "POST /management/v1/orgs", func(c *call) (any, *problem) {
			id, wrong := c.addOrganization()
			if wrong != nil {
				return nil, wrong
			}
			c.administer(id, c.caller, []string{"ORG_OWNER"})
			return map[string]any{"id": id, "details": details(id)}, nil
		}},
		{"", "POST /admin/v1/orgs/_search", searchOrganizations(false)},
		{"", "GET /admin/v1/orgs/default", func(c *call) (any, *problem) {
			if !c.may(createOrganization, instance) {
				return nil, noRight()
			}
			return map[string]any{"org": c.organizationOut(c.defaultOrganization())}, nil
		}},
	}
}

// defaultOrganization is the one with the lowest number for an id: it was there first, as
// those that the API makes have higher ones.
func (d *directory) defaultOrganization() string {
	ids := slices.SortedFunc(maps.Keys(d.organizations), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return append(ids, "")[0]
}

// addOrganization adds one by its name, which is unique in the instance.
func (c *call) addOrganization() (id string, wrong *problem) {
	var r struct {
		Name string `json:"name"`
	}
	if wrong := c.into(&r); wrong != nil {
		return "", wrong
	}
	if !c.may(createOrganization, instance) {
		return "", noRight()
	}
	for _, o := range c.organizations {
		if o.Name == r.Name {
			return "", exists("V2-23hg3", "Organization")
		}
	}
	o := Organization{ID: c.id(), Name: r.Name, Domain: strings.ToLower(strings.ReplaceAll(r.Name, " ", "-")) + ".localhost"}
	c.organizations[o.ID] = o
	c.hide("organization " + o.ID)
	return o.ID, nil
}

// deleteOrganization removes one with its users, projects and applications.
func (c *call) deleteOrganization(id string) *problem {
	if _, ok := c.organizations[id]; !ok {
		return unknown("ORG-1", "Organization")
	}
	for user, u := range c.users {
		if u.Organization == id {
			_ = c.deleteUser(user) // it is there
		}
	}
	for project, p := range c.projects {
		if p.Organization == id {
			c.deleteProject(project)
		}
	}
	delete(c.organizations, id)
	delete(c.administrators, id)
	return nil
}

func searchOrganizations(v2 bool) method {
	return func(c *call) (any, *problem) {
		var r struct {
			Query   any `json:"query"`
			Queries []struct {
				Name *struct {
					Name   string `json:"name"`
					Method string `json:"method"`
				} `json:"nameQuery"`
				ID *struct {
					ID string `json:"id"`
				} `json:"idQuery"`
				Default *struct{} `json:"defaultQuery"`
			} `json:"queries"`
		}
		if wrong := c.into(&r); wrong != nil {
			return nil, wrong
		}
		if !v2 && !c.may(createOrganization, instance) {
			return nil, noRight()
		}
		all := []any{}
		for _, id := range slices.Sorted(maps.Keys(c.organizations)) {
			takes := c.visible("organization "+id) && c.may(readOrganization, id)
			for _, q := range r.Queries {
				takes = takes && (q.Name == nil || matches(q.Name.Method, q.Name.Name, c.organizations[id].Name)) &&
					(q.ID == nil || q.ID.ID == id) && (q.Default == nil || id == c.defaultOrganization())
			}
			if takes {
				all = append(all, c.organizationOut(id))
			}
		}
		return result(all), nil
	}
}

func (d *directory) organizationOut(id string) map[string]any {
	o := d.organizations[id]
	return map[string]any{"id": o.ID, "name": o.Name, "state": "ORGANIZATION_STATE_ACTIVE", "primaryDomain": cmp.Or(o.Domain, o.Name), "details": details(id)}
}
