package federation

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Queries are the endpoints that tell other servers of users and aliases of this one.
func Queries(d Deps) []api.Endpoint {
	q := queries{d}
	return []api.Endpoint{
		{Methods: get, Path: v1 + "/query/profile", Auth: api.Signed, Limit: api.LimitFederation, Handler: q.profile},
		{Methods: get, Path: v1 + "/query/directory", Auth: api.Signed, Limit: api.LimitFederation, Handler: q.directory},
		{Methods: []string{http.MethodPut}, Path: v1 + "/3pid/onbind", Limit: api.LimitFederation, Handler: q.onBind},
	}
}

// UserInfo tells third parties whose OpenID token they were given (server-server API, "OpenID"). Services that know nothing of
// federation ask for it, such as those that let users into calls, so it is served without federation too.
func UserInfo(d Deps) api.Endpoint {
	return api.Endpoint{Methods: get, Path: v1 + "/openid/userinfo", Limit: api.LimitFederation, Handler: queries{d}.userInfo}
}

type queries struct{ Deps }

// local refuses users of other servers.
func (d Deps) local(userID string) error {
	if _, server, err := id.ParseUser(userID); err != nil || server != d.ServerName {
		return mxerr.InvalidParam("%.255q is no user of %s", userID, d.ServerName)
	}
	return nil
}

// profile gives a profile, or one field of it.
func (q queries) profile(r *api.Request) (any, error) {
	userID, err := r.Need("user_id")
	if err == nil {
		err = q.local(userID)
	}
	if err != nil {
		return nil, err
	}
	fields, err := client.LocalProfile(r.Ctx, q.Store, userID)
	field := r.Param("field")
	if err != nil || field == "" {
		return fields, err
	}
	value, ok := fields[field]
	if !ok {
		return nil, mxerr.NotFound("%s has no %.255s in the profile", userID, field)
	}
	return map[string]jsontext.Value{field: value}, nil
}

// directory gives the room of an alias, and servers that are in it.
func (q queries) directory(r *api.Request) (any, error) {
	alias, err := r.Need("room_alias")
	if err != nil {
		return nil, err
	}
	if _, server, err := id.ParseAlias(alias); err != nil || server != q.ServerName {
		return nil, mxerr.InvalidParam("%.255q is no alias of %s", alias, q.ServerName)
	}
	row, ok, err := q.Client.LocalAlias(r.Ctx, alias)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("there is no room with the alias %s", alias)
	}
	return client.AliasAnswer(r.Ctx, q.Reader, row, q.ServerName)
}

// userInfo tells a third party whose OpenID token it was given (server-server API, "OpenID").
func (q queries) userInfo(r *api.Request) (any, error) {
	token := r.Param("access_token")
	if token == "" {
		return nil, mxerr.New(http.StatusUnauthorized, "M_MISSING_TOKEN", "the query parameter access_token is required")
	}
	row, ok, err := schema.ShortTokens.Get(r.Ctx, q.Store, schema.ShortToken{Kind: account.OpenIDToken, Hash: secret.Hash(token)})
	if err != nil {
		return nil, err
	}
	if !ok || row.ExpiresTS <= r.Now.UnixMilli() {
		return nil, mxerr.New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "the token is not known, or has expired")
	}
	return map[string]string{"sub": row.UserID}, nil
}

// onBind is for identity servers, none of which this server trusts.
func (q queries) onBind(*api.Request) (any, error) {
	return nil, mxerr.Forbidden("this server trusts no identity server")
}
