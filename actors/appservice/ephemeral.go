package appservice

import (
	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// ephemeralEvent is what is not part of a room's history (application service API, "Pushing ephemeral data").
type ephemeralEvent struct {
	Type    string `json:"type"`
	RoomID  string `json:"room_id,omitzero"`
	Sender  string `json:"sender,omitzero"`
	Content any    `json:"content"`
}

func (b *batch) tellEphemeral(e ephemeralEvent) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	b.ephemeral = append(b.ephemeral, raw)
	b.size += len(raw)
	return nil
}

// receipts takes in receipts of a room of interest; private ones only of the application service's own users.
func (b *batch) receipts(n *messages.RoomNotice) error {
	if !b.of.Ephemeral {
		return nil
	}
	members, err := b.rooms.after(b.ctx, n.RoomId, n.LastSeq)
	if err != nil {
		return err
	}
	interested := members > 0
	if !interested {
		if interested, err = b.rooms.named(b.ctx, n.RoomId); err != nil {
			return err
		}
	}
	content := map[string]map[string]map[string]syncer.Receipt{}
	for _, r := range n.Receipts {
		own := b.of.Owns(r.UserId)
		if !own && (r.ReceiptType == "m.read.private" || !interested) {
			continue
		}
		byType := content[r.EventId]
		if byType == nil {
			byType = map[string]map[string]syncer.Receipt{}
			content[r.EventId] = byType
		}
		if byType[r.ReceiptType] == nil {
			byType[r.ReceiptType] = map[string]syncer.Receipt{}
		}
		byType[r.ReceiptType][r.UserId] = syncer.Receipt{TS: r.Ts, ThreadID: r.ThreadId}
	}
	if len(content) == 0 {
		return nil
	}
	return b.tellEphemeral(ephemeralEvent{Type: "m.receipt", RoomID: n.RoomId, Content: content})
}

// typing takes in who is typing now. It is not in the feed, and is lost when the node is.
func (b *batch) typing() error {
	if !b.of.Ephemeral || b.full() {
		return nil
	}
	for roomID, users := range b.desk.take() {
		concerned, err := b.rooms.concerned(b.ctx, roomID)
		if err != nil {
			return err
		}
		if !concerned {
			continue
		}
		if users == nil {
			users = []string{}
		}
		if err := b.tellEphemeral(ephemeralEvent{Type: "m.typing", RoomID: roomID, Content: map[string][]string{"user_ids": users}}); err != nil {
			return err
		}
	}
	return nil
}

// presence takes in the presence, as it is now, of a user who is one of the application service's or in a room of interest.
func (b *batch) presence(n *messages.PresenceNotice) error {
	if !b.of.Ephemeral {
		return nil
	}
	if interested, err := b.interesting(n.UserId, n.Rooms); err != nil || !interested {
		return err
	}
	row, ok, err := schema.Presences.Get(b.ctx, b.deps.Store, schema.Presence{UserID: n.UserId})
	if err != nil || !ok {
		return err
	}
	return b.tellEphemeral(ephemeralEvent{Type: "m.presence", Sender: n.UserId, Content: syncer.PresenceOf(row, b.deps.Now())})
}

// interesting reports whether the user is one of the application service's, or in one of the rooms of interest.
func (b *batch) interesting(userID string, rooms []string) (bool, error) {
	if b.of.Owns(userID) {
		return true, nil
	}
	for _, roomID := range rooms {
		if concerned, err := b.rooms.concerned(b.ctx, roomID); err != nil || concerned {
			return concerned, err
		}
	}
	return false, nil
}
