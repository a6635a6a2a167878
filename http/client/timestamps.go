package client

import (
	"math"

	"github.com/matrixon/matrixon/http/api"
)

func (h *rooms) timestamps() []api.Endpoint {
	const path = "/rooms/{roomId}/timestamp_to_event"
	return []api.Endpoint{{Methods: get, Path: v1 + path, Also: []string{"/_matrix/client/unstable/org.matrix.msc3030" + path},
		Auth: api.User, Limit: api.LimitRead, Handler: h.timestampToEvent}}
}

func (h *rooms) timestampToEvent(r *api.Request) (any, error) {
	for _, name := range []string{"ts", "dir"} {
		if _, err := r.Need(name); err != nil {
			return nil, err
		}
	}
	ts, err := r.Int("ts", 0, math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	dir, err := r.Enum("dir", "", "f", "b")
	if err != nil {
		return nil, err
	}
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	row, err := a.NearTimestamp(r.Ctx, ts, dir == "b")
	if err != nil {
		return nil, err
	}
	return map[string]any{"event_id": row.EventID, "origin_server_ts": row.OriginServerTS}, nil
}
