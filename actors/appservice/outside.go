package appservice

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// outsideEvent is a membership in a room that this server is not in.
type outsideEvent struct {
	Type           string          `json:"type"`
	EventID        string          `json:"event_id,omitzero"`
	RoomID         string          `json:"room_id"`
	Sender         string          `json:"sender"`
	StateKey       string          `json:"state_key"`
	OriginServerTS int64           `json:"origin_server_ts"`
	Content        jsontext.Value  `json:"content"`
	Unsigned       outsideUnsigned `json:"unsigned,omitzero"`
}

type outsideUnsigned struct {
	InviteRoomState jsontext.Value `json:"invite_room_state,omitzero"`
	KnockRoomState  jsontext.Value `json:"knock_room_state,omitzero"`
}

// outside takes in that a user of the application service was invited by another server, or that this ended, in a room that this server
// is not in. Its event is not here: what is known of it stands with the membership, unless that has changed again since.
func (b *batch) outside(roomID string, e *messages.RoomEvent) error {
	if e.StateKey == nil || !b.of.Owns(*e.StateKey) {
		return nil
	}
	b.rooms.forget(roomID)
	told := outsideEvent{Type: e.Type, EventID: e.EventId, RoomID: roomID, Sender: e.Sender, StateKey: *e.StateKey, OriginServerTS: b.deps.Now().UnixMilli()}
	content, err := json.Marshal(map[string]string{"membership": e.Membership})
	if err != nil {
		return err
	}
	told.Content = content
	row, _, err := schema.Memberships.Get(b.ctx, b.deps.Store, schema.Membership{UserID: *e.StateKey, RoomID: roomID})
	if err != nil {
		return err
	}
	if row.EventID == e.EventId && row.Membership == e.Membership {
		for _, shown := range gjson.ParseBytes(row.StrippedState).Array() {
			if shown.Get("type").Str != e.Type || shown.Get("state_key").Str != *e.StateKey || shown.Get("content.membership").Str != e.Membership {
				continue
			}
			told.Content = jsontext.Value(shown.Get("content").Raw)
			if ts := shown.Get("origin_server_ts").Int(); ts > 0 {
				told.OriginServerTS = ts
			}
		}
		switch e.Membership {
		case "invite":
			told.Unsigned.InviteRoomState = row.StrippedState
		case "knock":
			told.Unsigned.KnockRoomState = row.StrippedState
		}
	}
	raw, err := json.Marshal(told)
	if err != nil {
		return err
	}
	b.events = append(b.events, raw)
	b.size += len(raw)
	return nil
}
