package client

import (
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

func (h *rooms) threads() []api.Endpoint {
	const path = "/rooms/{roomId}/threads"
	return []api.Endpoint{{Methods: get, Path: v1 + path, Also: []string{"/_matrix/client/unstable/org.matrix.msc3856" + path},
		Auth: api.User, Limit: api.LimitRead, Handler: h.listThreads}}
}

func (h *rooms) listThreads(r *api.Request) (any, error) {
	include, err := r.Enum("include", "all", "all", "participated")
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", pageSize, 1, mostThreads)
	if err != nil {
		return nil, err
	}
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	q := reader.Threads{Limit: int(limit), Participated: include == "participated"}
	from := r.Param("from")
	if from != "" && token.IsSync(from) {
		return nil, mxerr.InvalidParam("the token %.64q is of a sync", from)
	}
	if q.From, err = a.Gap(r.Ctx, from, true); err != nil {
		return nil, err
	}
	page, err := a.Threads(r.Ctx, q)
	if err != nil {
		return nil, err
	}
	chunk, err := events(r, a, page.Events)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"chunk": chunk}
	if page.More {
		answer["next_batch"] = token.Timeline{Seq: page.End}.String()
	}
	return answer, nil
}

// mostThreads bounds a page of threads: each comes with its aggregations.
const mostThreads = 100
