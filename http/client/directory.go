package client

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (h *rooms) directory() []api.Endpoint {
	const alias = v3 + "/directory/room/{roomAlias}"
	const list = v3 + "/directory/list/room/{roomId}"
	return []api.Endpoint{
		{Methods: get, Path: alias, R0: true, Handler: h.getAlias},
		{Methods: put, Path: alias, R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.putAlias},
		{Methods: remove, Path: alias, R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.deleteAlias},
		{Methods: get, Path: aRoom + "/aliases", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.roomAliases},
		{Methods: get, Path: list, R0: true, Handler: h.getPublished},
		{Methods: put, Path: list, R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.putPublished},
	}
}

// alias gives the alias that the path names, if it is one of this server.
func (h *rooms) alias(r *api.Request) (string, error) {
	alias := r.Vars["roomAlias"]
	_, server, err := id.ParseAlias(alias)
	if err != nil {
		return "", mxerr.InvalidParam("%.255q is no room alias: %v", alias, err)
	}
	if server != h.ServerName {
		return "", mxerr.NotFound("the alias %s is of another server", alias)
	}
	return alias, nil
}

// find reads a local alias.
func (h *rooms) find(r *api.Request, alias string) (schema.Alias, error) {
	row, ok, err := h.LocalAlias(r.Ctx, alias)
	if err == nil && !ok {
		err = mxerr.NotFound("there is no room with the alias %.255s", alias)
	}
	return row, err
}

// resolve gives the room that an alias of this or another server names, and servers through which it can be joined.
func (h *rooms) resolve(r *api.Request, alias string) (roomID string, servers []string, err error) {
	_, server, err := id.ParseAlias(alias)
	switch {
	case err != nil:
		return "", nil, mxerr.InvalidParam("%.255q is no room alias: %v", alias, err)
	case server == h.ServerName:
		row, err := h.find(r, alias)
		if err != nil {
			return "", nil, err
		}
		servers, err := h.Reader.Residents(r.Ctx, row.RoomID, h.ServerName)
		return row.RoomID, servers, err
	case h.Inquirer == nil:
		return "", nil, mxerr.NotFound("the alias %s is of another server", alias)
	}
	return h.Inquirer.Alias(r.Ctx, alias)
}

func (h *rooms) getAlias(r *api.Request) (any, error) {
	roomID, servers, err := h.resolve(r, r.Vars["roomAlias"])
	if err != nil {
		return nil, err
	}
	return aliasAnswer(roomID, servers, h.ServerName), nil
}

// aliasAnswer tells of the room of an alias, and of servers through which it can be joined.
func aliasAnswer(roomID string, servers []string, own string) any {
	if len(servers) == 0 {
		servers = []string{own}
	}
	return map[string]any{"room_id": roomID, "servers": servers}
}

// AliasAnswer tells of the room of an alias of this server, and of servers through which it can be joined.
func AliasAnswer(ctx context.Context, rooms *reader.Reader, alias schema.Alias, own string) (any, error) {
	servers, err := rooms.Residents(ctx, alias.RoomID, own)
	if err != nil {
		return nil, err
	}
	return aliasAnswer(alias.RoomID, servers, own), nil
}

func (h *rooms) putAlias(r *api.Request) (any, error) {
	alias := r.Vars["roomAlias"]
	if _, server, err := id.ParseAlias(alias); err != nil || server != h.ServerName {
		return nil, mxerr.InvalidParam("an alias here reads #name:%s", h.ServerName)
	}
	var body struct {
		RoomID string `json:"room_id"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.RoomID == "" {
		return nil, mxerr.MissingParam("room_id is required")
	}
	if !id.ValidRoomID(body.RoomID) {
		return nil, mxerr.InvalidParam("room_id must be a room id")
	}
	if err := h.mayAlias(r, alias); err != nil {
		return nil, err
	}
	if _, taken, err := schema.Aliases.Get(r.Ctx, h.Store, schema.Alias{Alias: alias}); err != nil {
		return nil, err
	} else if taken {
		return nil, mxerr.New(http.StatusConflict, "M_UNKNOWN", "the alias %s is taken", alias)
	}
	if err := h.known(r.Ctx, body.RoomID); err != nil {
		return nil, err
	}
	_, err := AskRoom[*messages.Done](r.Ctx, h.Deps, body.RoomID, &messages.CreateAlias{By: requester(r), Alias: alias})
	return nil, err
}

func (h *rooms) deleteAlias(r *api.Request) (any, error) {
	alias, err := h.alias(r)
	if err != nil {
		return nil, err
	}
	if err := h.mayAlias(r, alias); err != nil {
		return nil, err
	}
	row, ok, err := schema.Aliases.Get(r.Ctx, h.Store, schema.Alias{Alias: alias})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("there is no room with the alias %.255s", alias)
	}
	// An application service has full control over the aliases of its namespaces.
	full := r.Session.Admin || r.Session.Appservice != ""
	if _, err := AskRoom[*messages.Done](r.Ctx, h.Deps, row.RoomID, &messages.DeleteAlias{By: requester(r), Alias: alias, Admin: full}); err != nil {
		return nil, err
	}
	// The alias is gone, whatever becomes of the event.
	if err := h.withoutAlias(r, row.RoomID, alias); err != nil {
		h.Log.Warn("an alias that was deleted stays in the canonical alias event of its room", "alias", alias, "room", row.RoomID, "error", err)
	}
	return nil, nil
}

// withoutAlias takes a deleted alias out of the room's canonical alias event, if the user may change that.
func (h *rooms) withoutAlias(r *api.Request, roomID, alias string) error {
	current, ok, err := h.Reader.Current(r.Ctx, roomID, "m.room.canonical_alias", "")
	if err != nil || !ok {
		return err
	}
	content := []byte(gjson.GetBytes(current.JSON, "content").Raw)
	if !slices.Contains(canonicalAliases(content), alias) {
		return nil
	}
	var fields map[string]jsontext.Value
	if err := json.Unmarshal(content, &fields); err != nil {
		return err
	}
	if gjson.GetBytes(content, "alias").String() == alias {
		delete(fields, "alias")
	}
	var alt []string
	if err := json.Unmarshal(fields["alt_aliases"], &alt); err == nil {
		if alt = slices.DeleteFunc(alt, func(a string) bool { return a == alias }); len(alt) == 0 {
			delete(fields, "alt_aliases")
		} else if fields["alt_aliases"], err = json.Marshal(alt); err != nil {
			return err
		}
	}
	if content, err = json.Marshal(fields, json.Deterministic(true)); err != nil {
		return err
	}
	var refusal *mxerr.Error
	_, err = h.sent(r, roomID, &messages.Proposal{Type: "m.room.canonical_alias", StateKey: new(string), Content: content}, "", 0)
	if errors.As(err, &refusal) && refusal.Status == http.StatusForbidden {
		return nil
	}
	return err
}

func (h *rooms) roomAliases(r *api.Request) (any, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if !a.Joined() {
		room, ok, err := schema.Rooms.Get(r.Ctx, h.Store, schema.Room{RoomID: a.RoomID})
		if err != nil {
			return nil, err
		}
		if !ok || room.HistoryVisibility != "world_readable" {
			return nil, mxerr.Forbidden("you are not in the room %s", a.RoomID)
		}
	}
	aliases := []string{}
	for row, err := range schema.AliasesByRoom.Scan(r.Ctx, h.Store, persistence.Range[schema.AliasByRoom]{
		Prefix: schema.AliasByRoom{RoomID: a.RoomID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		aliases = append(aliases, row.Alias)
	}
	return map[string]any{"aliases": aliases}, nil
}

func (h *rooms) getPublished(r *api.Request) (any, error) {
	roomID, err := roomID(r)
	if err != nil {
		return nil, err
	}
	room, err := h.Reader.Room(r.Ctx, roomID)
	if err != nil {
		return nil, err
	}
	visibility := "private"
	if room.Published {
		visibility = "public"
	}
	return map[string]string{"visibility": visibility}, nil
}

func (h *rooms) putPublished(r *api.Request) (any, error) {
	roomID, err := roomID(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Visibility string `json:"visibility"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	if body.Visibility == "" {
		body.Visibility = "public"
	}
	if body.Visibility != "public" && body.Visibility != "private" {
		return nil, mxerr.InvalidParam("visibility must be public or private, not %.64q", body.Visibility)
	}
	if err := h.known(r.Ctx, roomID); err != nil {
		return nil, err
	}
	_, err = AskRoom[*messages.Done](r.Ctx, h.Deps, roomID, &messages.SetPublished{By: requester(r), Published: body.Visibility == "public", Admin: r.Session.Admin})
	return nil, err
}
