package client

import (
	"net/http"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// thirdPartyIDs are the endpoints for email addresses and phone numbers, which this server does not keep: the
// capability m.3pid_changes says so, and whoever asks all the same is told in the specification's terms (client-server
// API, "Adding Account Administrative Contact Information").
func (a *accounts) thirdPartyIDs() []api.Endpoint {
	const base = "/_matrix/client/v3/account/3pid"
	refusing := func(path string, auth api.Auth, e *mxerr.Error) api.Endpoint {
		return api.Endpoint{Methods: post, Path: path, R0: true, Auth: auth, Limit: api.LimitRegister, Handler: func(r *api.Request) (any, error) {
			if _, err := r.Object(); err != nil {
				return nil, err
			}
			return nil, e
		}}
	}
	unsupported := mxerr.New(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "this server keeps no email addresses and phone numbers")
	denied := mxerr.New(http.StatusForbidden, "M_THREEPID_DENIED", "this server keeps no email addresses and phone numbers")
	unverified := mxerr.New(http.StatusForbidden, "M_THREEPID_AUTH_FAILED", "this server keeps no email addresses and phone numbers")
	nothingToUnbind := func(r *api.Request) (any, error) {
		var q struct {
			Medium   string `json:"medium"`
			Address  string `json:"address"`
			IDServer string `json:"id_server"`
		}
		if err := r.Decode(&q); err != nil {
			return nil, err
		}
		if q.Medium == "" || q.Address == "" {
			return nil, mxerr.MissingParam("medium and address say what to remove")
		}
		return map[string]string{"id_server_unbind_result": "success"}, nil
	}
	return []api.Endpoint{
		{Methods: get, Path: base, R0: true, Auth: api.User, Handler: func(*api.Request) (any, error) {
			return map[string]any{"threepids": []any{}}, nil
		}},
		refusing(base, api.User, unverified),
		refusing(base+"/add", api.User, unsupported),
		refusing(base+"/bind", api.User, unsupported),
		refusing(base+"/email/requestToken", api.Public, unsupported),
		refusing(base+"/msisdn/requestToken", api.Public, unsupported),
		refusing("/_matrix/client/v3/register/email/requestToken", api.Public, denied),
		refusing("/_matrix/client/v3/register/msisdn/requestToken", api.Public, denied),
		refusing("/_matrix/client/v3/account/password/email/requestToken", api.Public, denied),
		refusing("/_matrix/client/v3/account/password/msisdn/requestToken", api.Public, denied),
		{Methods: post, Path: base + "/delete", R0: true, Auth: api.User, Handler: nothingToUnbind},
		{Methods: post, Path: base + "/unbind", R0: true, Auth: api.User, Handler: nothingToUnbind},
	}
}
