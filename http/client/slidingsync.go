package client

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/http/api"
)

type slidingSync struct{ syncer *sliding.Syncer }

// SlidingSync are the endpoints of simplified sliding sync (MSC4186): as clients ask for it today, and as the proposal has it.
func SlidingSync(s *sliding.Syncer) []api.Endpoint {
	h := &slidingSync{s}
	return []api.Endpoint{
		{Methods: post, Path: "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", Auth: api.User, WhileSuspended: true, Handler: h.unstable},
		{Methods: post, Path: "/_matrix/client/v4/sync", Auth: api.User, WhileSuspended: true, Handler: h.stable},
	}
}

// unstable answers what clients send now: the position and the timeout are in the query.
func (h *slidingSync) unstable(r *api.Request) (any, error) {
	var body slidingBody[slidingPairs]
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	body.Pos = r.Param("pos")
	timeout, err := r.Int("timeout", 0, 0, longestPoll)
	if err != nil {
		return nil, err
	}
	body.Timeout, body.SetPresence = timeout, r.Query().Get("set_presence")
	if body.Extensions.ThreadSubscriptions == nil {
		body.Extensions.ThreadSubscriptions = body.Extensions.ThreadSubscriptionsUnstable
	}
	return answerSliding(r, &body, h.syncer.Unstable)
}

// stable answers the proposal's own dialect.
func (h *slidingSync) stable(r *api.Request) (any, error) {
	var body slidingBody[slidingRules]
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	return answerSliding(r, &body, h.syncer.Stable)
}

// answerSliding syncs, but no longer than the server serves: when it shuts down, the client gets its position back.
func answerSliding[S slidingState](r *api.Request, body *slidingBody[S], sync func(context.Context, sliding.Request) (*sliding.Response, error)) (any, error) {
	req, err := body.request(r.User())
	if err != nil {
		return nil, err
	}
	req.DeviceID = r.Device()
	ctx, cancel := context.WithCancel(r.Ctx)
	defer cancel()
	if req.Timeout > 0 && req.Pos != "" {
		stop := r.OnDrain(cancel)
		defer stop()
	}
	resp, err := sync(ctx, req)
	if err != nil && ctx.Err() != nil && r.Ctx.Err() == nil {
		resp, err = &sliding.Response{Pos: req.Pos, Lists: map[string]sliding.ListResult{}, Rooms: map[string]*sliding.Room{}}, nil
	}
	if err != nil {
		return nil, err
	}
	resp.TxnID = body.TxnID
	return resp, nil
}

// milliseconds gives a duration, bounded by the longest poll.
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(ms, longestPoll)) * time.Millisecond
}
