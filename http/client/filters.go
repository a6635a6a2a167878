package client

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) filters() []api.Endpoint {
	const path = "/_matrix/client/v3/user/{userId}/filter"
	return []api.Endpoint{
		{Methods: post, Path: path, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.postFilter},
		{Methods: get, Path: path + "/{filterId}", R0: true, Auth: api.User, Handler: a.getFilter},
	}
}

// postFilter stores a filter under an id made of its content, so that clients that upload theirs at every start get
// the same id and nothing grows (client-server API, "Filtering").
func (a *accounts) postFilter(r *api.Request) (any, error) {
	if err := r.Self("userId"); err != nil {
		return nil, err
	}
	raw, err := r.Object()
	if err != nil {
		return nil, err
	}
	if _, err := filter.Parse(raw); err != nil {
		return nil, err
	}
	if err := raw.Canonicalize(); err != nil {
		return nil, mxerr.NotJSON("the filter is not valid JSON")
	}
	sum := sha256.Sum256(raw)
	filterID := base64.RawURLEncoding.EncodeToString(sum[:15])
	if err := a.ask(r, r.User(), &messages.StoreFilter{FilterId: filterID, Json: raw}); err != nil {
		return nil, err
	}
	return map[string]string{"filter_id": filterID}, nil
}

func (a *accounts) getFilter(r *api.Request) (any, error) {
	if err := r.Self("userId"); err != nil {
		return nil, err
	}
	row, ok, err := schema.Filters.Get(r.Ctx, a.Store, schema.Filter{UserID: r.User(), FilterID: r.Vars["filterId"]})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("you have no filter with this id")
	}
	return jsontext.Value(row.JSON), nil
}
