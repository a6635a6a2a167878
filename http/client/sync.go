package client

import (
	"context"
	"strings"
	"time"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// longestPoll is the longest time that a sync waits, in milliseconds.
const longestPoll = 5 * 60 * 1000

type syncing struct {
	Deps
	syncer   *syncer.Syncer
	presence bool
}

// Sync are the endpoints of syncing and presence.
func Sync(d Deps, s *syncer.Syncer, presence bool) []api.Endpoint {
	y := &syncing{d, s, presence}
	const status = "/_matrix/client/v3/presence/{userId}/status"
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/v3/sync", R0: true, Auth: api.User, Handler: y.sync},
		{Methods: get, Path: status, R0: true, Auth: api.User, Handler: y.getPresence},
		{Methods: put, Path: status, R0: true, Auth: api.User, Limit: api.LimitAccount, Handler: y.putPresence},
	}
}

func (y *syncing) sync(r *api.Request) (any, error) {
	req, err := y.request(r)
	if err != nil {
		return nil, err
	}
	timeout, err := r.Int("timeout", 0, 0, longestPoll)
	if err != nil {
		return nil, err
	}
	req.Timeout = time.Duration(timeout) * time.Millisecond
	return y.poll(r, req)
}

// request reads the parameters of a sync but for the timeout.
func (y *syncing) request(r *api.Request) (req syncer.Request, err error) {
	req = syncer.Request{UserID: r.User(), DeviceID: r.Device(), Since: r.Param("since")}
	if req.FullState, err = r.Bool("full_state", false); err != nil {
		return req, err
	}
	if req.SetPresence, err = r.Enum("set_presence", "online", "offline", "online", "unavailable"); err != nil {
		return req, err
	}
	if req.StateAfter, err = r.Bool("use_state_after", false); err != nil {
		return req, err
	}
	if req.UnstableStateAfter, err = r.Bool("org.matrix.msc4222.use_state_after", false); err != nil {
		return req, err
	}
	req.Filter, err = y.filter(r)
	return req, err
}

// poll syncs, but no longer than the server serves: when it shuts down, the client gets its token back and asks another node, or this
// one when it is up again.
func (y *syncing) poll(r *api.Request, req syncer.Request) (*syncer.Response, error) {
	if req.Timeout == 0 || req.Since == "" {
		return y.syncer.Sync(r.Ctx, req)
	}
	ctx, cancel := context.WithCancel(r.Ctx)
	defer cancel()
	stop := r.OnDrain(cancel)
	defer stop()
	resp, err := y.syncer.Sync(ctx, req)
	if err != nil && ctx.Err() != nil && r.Ctx.Err() == nil {
		return &syncer.Response{NextBatch: req.Since}, nil
	}
	return resp, err
}

// unfiltered is shared by all syncs without a filter, which keep it for as long as they wait. Nobody changes a filter.
var unfiltered filter.Filter

// filter gives the filter that the request names by id or brings along.
func (y *syncing) filter(r *api.Request) (*filter.Filter, error) {
	given := r.Param("filter")
	switch {
	case given == "":
		return &unfiltered, nil
	case strings.HasPrefix(given, "{"):
		return filter.Parse([]byte(given))
	}
	row, ok, err := schema.Filters.Get(r.Ctx, y.Store, schema.Filter{UserID: r.User(), FilterID: given})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("you have no filter %q", given)
	}
	return filter.Parse(row.JSON)
}

func (y *syncing) getPresence(r *api.Request) (any, error) {
	userID := r.Vars["userId"]
	if !id.ValidUser(userID) {
		return nil, mxerr.InvalidParam("%q is not a user id", userID)
	}
	shares, err := syncer.Share(r.Ctx, y.Store, r.User(), userID)
	if err != nil {
		return nil, err
	}
	if !shares {
		return nil, mxerr.Forbidden("you share no room with %s", userID)
	}
	row, ok, err := schema.Presences.Get(r.Ctx, y.Store, schema.Presence{UserID: userID})
	if err != nil {
		return nil, err
	}
	if !ok && !y.presence {
		return nil, mxerr.NotFound("presence is not tracked on this server")
	}
	return syncer.PresenceOf(row, r.Now), nil
}

func (y *syncing) putPresence(r *api.Request) (any, error) {
	if err := r.Self("userId"); err != nil {
		return nil, err
	}
	var body struct {
		Presence  string  `json:"presence"`
		StatusMsg *string `json:"status_msg"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	switch body.Presence {
	case "online", "unavailable", "offline":
	case "":
		return nil, mxerr.MissingParam("presence is required: online, unavailable or offline")
	default:
		return nil, mxerr.InvalidParam("presence must be online, unavailable or offline, not %q", body.Presence)
	}
	if body.StatusMsg != nil && len(*body.StatusMsg) > statusMsgBound {
		return nil, mxerr.TooLarge("status_msg has at most %d bytes", statusMsgBound)
	}
	if !y.presence {
		return nil, nil
	}
	_, err := AskUser[*messages.Done](r.Ctx, y.Deps, r.User(), &messages.SetPresence{State: body.Presence, StatusMsg: body.StatusMsg})
	return nil, err
}

// statusMsgBound is how long a status message may be, in bytes.
const statusMsgBound = 4096
