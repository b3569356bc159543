package zitadel

import (
	"context"
	"errors"
	"net/http"
)

// Organization owns users and projects.
type Organization struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type textIs struct {
	Name   string `json:"name"`
	Method string `json:"method"`
}

const equals = "TEXT_QUERY_METHOD_EQUALS"

// FindOrganization finds one by its name. found is false where the account sees none.
func (c *Client) FindOrganization(ctx context.Context, name string) (o Organization, found bool, err error) {
	type query struct {
		Name textIs `json:"nameQuery"`
	}
	in := struct {
		Queries []query `json:"queries"`
	}{[]query{{textIs{name, equals}}}}
	var out struct {
		Result []Organization `json:"result"`
	}
	_, err = c.ask(ctx, question{"find organization " + name, "ListOrganizations", needsInstance},
		way{http.MethodPost, "/v2/organizations/_search", in, &out}, way{http.MethodPost, "/admin/v1/orgs/_search", in, &out})
	if err != nil || len(out.Result) == 0 {
		return Organization{}, false, err
	}
	return out.Result[0], true, nil
}

// DefaultOrganization is the instance's, in which people are unless told otherwise.
func (c *Client) DefaultOrganization(ctx context.Context) (Organization, error) {
	type query struct {
		Default struct{} `json:"defaultQuery"`
	}
	var out struct {
		Result []Organization `json:"result"`
		Org    Organization   `json:"org"` // v1
	}
	q := question{"find the default organization", "ListOrganizations", needsInstance}
	_, err := c.ask(ctx, q,
		way{http.MethodPost, "/v2/organizations/_search", struct {
			Queries []query `json:"queries"`
		}{[]query{{}}}, &out},
		way{http.MethodGet, "/admin/v1/orgs/default", nil, &out})
	switch {
	case err != nil:
		return Organization{}, err
	case len(out.Result) > 0:
		return out.Result[0], nil
	case out.Org.ID == "":
		return Organization{}, &Refusal{Doing: q.doing, Kind: ErrNoRight, Needs: q.needs}
	}
	return out.Org, nil
}

// EnsureOrganization makes an organization, unless one of that name is there.
func (c *Client) EnsureOrganization(ctx context.Context, name string) (id string, created bool, err error) {
	in := struct {
		Name string `json:"name"`
	}{name}
	var made struct {
		ID             string `json:"id"` // v1
		OrganizationID string `json:"organizationId"`
	}
	q := question{"make organization " + name, "AddOrganization", needsInstance}
	_, err = c.ask(ctx, q, way{http.MethodPost, "/v2/organizations", in, &made}, way{http.MethodPost, "/management/v1/orgs", in, &made})
	if !errors.Is(err, ErrExists) {
		return made.OrganizationID + made.ID, err == nil, err
	}
	id, err = c.existing(ctx, q, func() (id string, found bool, err error) {
		o, found, err := c.FindOrganization(ctx, name)
		return o.ID, found, err
	})
	return id, false, err
}

// existing finds what a method did not make as it is there, also where a server does
// not show it yet.
func (c *Client) existing(ctx context.Context, q question, look func() (id string, found bool, err error)) (id string, err error) {
	found, err := c.settled(ctx, func() (found bool, err error) {
		id, found, err = look()
		return found, err
	})
	if err == nil && !found {
		err = &Refusal{Doing: q.doing, Kind: ErrExists, Message: "the account does not see it"}
	}
	return id, err
}
