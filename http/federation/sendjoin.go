package federation

import (
	"context"
	"slices"
	"strconv"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// sendJoin takes a join, and answers the state before it and what authorises that state.
func (h *memberships) sendJoin(r *api.Request) (any, error) {
	a, err := h.takeJoin(r)
	if err != nil {
		return nil, err
	}
	return h.stream(r, a.write), nil
}

// sendJoinV1 is the older endpoint, which the specification has given up and servers still use.
func (h *memberships) sendJoinV1(r *api.Request) (any, error) {
	a, err := h.takeJoin(r)
	if err != nil {
		return nil, err
	}
	return h.streamPair(r, a.write), nil
}

func (h *memberships) takeJoin(r *api.Request) (*joinAnswer, error) {
	omit, err := r.Bool("omit_members", false)
	if err != nil {
		return nil, err
	}
	sent, err := h.completed(r, "join", messages.ChangeMembership_JOIN)
	if err != nil {
		return nil, err
	}
	return h.joined(r.Ctx, r.Vars["roomId"], sent, omit)
}

// joinAnswer is what a server gets that has joined a room. The events are read while it is written, since rooms may be larger than memory allows.
type joinAnswer struct {
	r       *reader.Reader
	join    schema.Event
	signed  []byte
	state   []reader.Entry
	omitted bool
	servers []string
}

func (h *memberships) joined(ctx context.Context, roomID string, sent *messages.MembershipSent, omit bool) (*joinAnswer, error) {
	join, err := h.Reader.EventAt(ctx, roomID, sent.Seq)
	if err != nil {
		return nil, err
	}
	state, err := h.Reader.StateAt(ctx, roomID, join.StateBefore)
	if err != nil {
		return nil, err
	}
	a := &joinAnswer{r: h.Reader, join: join, signed: sent.Json, omitted: omit}
	keep := func(event.Tuple) bool { return true }
	if omit {
		heroes, err := syncer.Heroes(ctx, h.Reader, roomID, join.Sender)
		if err != nil {
			return nil, err
		}
		keep = func(t event.Tuple) bool { return t.Type != "m.room.member" || slices.Contains(heroes, t.StateKey) }
		if a.servers, err = h.servers(ctx, &join); err != nil {
			return nil, err
		}
	}
	a.state, err = state.Entries(keep)
	return a, err
}

// servers are those that had users in the room before the join.
func (h *memberships) servers(ctx context.Context, join *schema.Event) ([]string, error) {
	rows, err := schema.RoomServers.All(ctx, h.Store, persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: join.RoomID}, Keys: 1})
	if err != nil {
		return nil, err
	}
	servers := []string{}
	for _, row := range rows {
		if row.Joined > 0 && row.JoinedSeq < join.Seq {
			servers = append(servers, row.Server)
		}
	}
	return servers, nil
}

// write writes the answer: first the state, then its auth chain.
func (a *joinAnswer) write(ctx context.Context, w *writer) error {
	chain, err := a.r.AuthChain(ctx, a.join.RoomID)
	if err != nil {
		return err
	}
	if err := chain.Add(&a.join); err != nil {
		return err
	}
	w.value("event", a.signed)
	w.begin("state")
	for _, entry := range a.state {
		row, err := a.r.EventAt(ctx, a.join.RoomID, entry.Seq)
		if err != nil {
			return err
		}
		if err := chain.Add(&row); err != nil {
			return err
		}
		w.item(row.JSON)
	}
	w.end()
	if err := w.chain(ctx, "auth_chain", chain, pduJSON); err != nil {
		return err
	}
	w.value("members_omitted", strconv.AppendBool(nil, a.omitted))
	if a.omitted {
		w.begin("servers_in_room")
		for _, server := range a.servers {
			w.item(quoted(server))
		}
		w.end()
	}
	return w.err
}
