package federation

import (
	"context"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The bounds of a query for the keys of servers.
const (
	queriedServers = 200
	queriedAtOnce  = 16
	queryPatience  = 20 * time.Second
)

// Keys are the endpoints with which servers learn each other's keys (server-server API, "Retrieving server keys"). They are not signed: without
// keys nothing could be.
func Keys(d Deps) []api.Endpoint {
	k := keyEndpoints{d}
	const server, query = "/_matrix/key/v2/server", "/_matrix/key/v2/query"
	return []api.Endpoint{
		{Methods: get, Path: server, Also: []string{server + "/", server + "/{keyId}"}, Handler: k.own},
		{Methods: get, Path: query + "/{serverName}", Also: []string{query + "/{serverName}/{keyId}"}, Limit: api.LimitFederation, Handler: k.one},
		{Methods: post, Path: query, Limit: api.LimitFederation, Handler: k.several},
	}
}

type keyEndpoints struct{ Deps }

func (k keyEndpoints) own(r *api.Request) (any, error) { return k.Keys.Own().Document(r.Ctx) }

// one answers with what is known of one server.
func (k keyEndpoints) one(r *api.Request) (any, error) {
	server := r.Vars["serverName"]
	if !id.ValidServerName(server) {
		return nil, mxerr.InvalidParam("%.255q is no server name", server)
	}
	until, err := r.Int("minimum_valid_until_ts", 0, 0, 1<<53)
	if err != nil {
		return nil, err
	}
	return k.notarize(r, map[string]int64{server: until})
}

func (k keyEndpoints) several(r *api.Request) (any, error) {
	var body struct {
		ServerKeys map[string]map[string]struct {
			MinimumValidUntilTS int64 `json:"minimum_valid_until_ts"`
		} `json:"server_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.ServerKeys == nil {
		return nil, mxerr.BadJSON("server_keys is required: which keys of which servers")
	}
	if len(body.ServerKeys) > queriedServers {
		return nil, mxerr.TooLarge("the keys of at most %d servers can be asked for at once", queriedServers)
	}
	wanted := make(map[string]int64, len(body.ServerKeys))
	for server, criteria := range body.ServerKeys {
		if !id.ValidServerName(server) {
			return nil, mxerr.InvalidParam("%.255q is no server name", server)
		}
		wanted[server] = 0
		for _, c := range criteria {
			wanted[server] = max(wanted[server], c.MinimumValidUntilTS)
		}
	}
	return k.notarize(r, wanted)
}

// notarize collects the keys of several servers. Those of which nothing is known, or not in time, are left out.
func (k keyEndpoints) notarize(r *api.Request, wanted map[string]int64) (any, error) {
	ctx, cancel := context.WithTimeout(r.Ctx, queryPatience)
	defer cancel()
	var mu sync.Mutex
	found := []jsontext.Value{}
	var g errgroup.Group
	g.SetLimit(queriedAtOnce)
	for server, until := range wanted {
		g.Go(func() error {
			signed, ok, err := k.Keys.Notarize(ctx, server, until)
			if ctx.Err() != nil {
				return r.Ctx.Err()
			}
			if err == nil && ok {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, signed)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return map[string]any{"server_keys": found}, nil
}
