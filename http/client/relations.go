package client

import (
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
)

func (h *rooms) relations() []api.Endpoint {
	const base = v1 + "/rooms/{roomId}/relations/{eventId}"
	unstable := "/_matrix/client/unstable" + base[len(v1):]
	// The specification wants no rate limit here.
	return []api.Endpoint{{Methods: get, Path: base, Also: []string{base + "/{relType}", base + "/{relType}/{eventType}",
		unstable, unstable + "/{relType}", unstable + "/{relType}/{eventType}"}, Auth: api.User, Handler: h.children}}
}

func (h *rooms) children(r *api.Request) (any, error) {
	dir, err := r.Enum("dir", "b", "b", "f")
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", pageSize, 1, largestPage)
	if err != nil {
		return nil, err
	}
	q := reader.Relations{ParentID: r.Vars["eventId"], RelType: r.Vars["relType"], Type: r.Vars["eventType"], Backwards: dir == "b", Limit: int(limit)}
	if q.Recurse, err = r.Bool("recurse", false); err != nil {
		return nil, err
	}
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if q.From, err = a.Gap(r.Ctx, r.Param("from"), q.Backwards); err != nil {
		return nil, err
	}
	if q.To, err = a.Bound(r.Ctx, r.Param("to"), q.Backwards); err != nil {
		return nil, err
	}
	if r.Param("from") == "" {
		if err := h.later(r, a, q.ParentID); err != nil {
			return nil, err
		}
	}
	page, err := a.Relations(r.Ctx, q)
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
	if from := r.Param("from"); from != "" {
		answer["prev_batch"] = from
	}
	if q.Recurse {
		answer["recursion_depth"] = q.Depth()
	}
	return answer, nil
}
