package push

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// eventIDOnly is the format that says nothing of an event but where it is.
const eventIDOnly = "event_id_only"

// notification is what a push gateway is told. Without an event it only brings the count.
type notification struct {
	userID    string
	event     *schema.Event
	highlight bool
	actions   []jsontext.Value
	unread    int64
	shown     []byte // what another server shows of a room that this one is not in: a JSON array

	senderName, roomName, roomAlias string
}

// describe looks up how the sender and the room are called.
func (n *notification) describe(ctx context.Context, r *reader.Reader) error {
	if n.shown != nil {
		n.describeShown()
		return nil
	}
	sender, ok, err := r.Current(ctx, n.event.RoomID, "m.room.member", n.event.Sender)
	if err != nil {
		return err
	}
	if ok {
		n.senderName = gjson.GetBytes(sender.JSON, "content.displayname").String()
	}
	room, err := r.Room(ctx, n.event.RoomID)
	if refused := new(mxerr.Error); errors.As(err, &refused) {
		return nil // the room is being deleted
	}
	n.roomName, n.roomAlias = room.Name, room.CanonicalAlias
	return err
}

// describeShown is describe for a room of other servers.
func (n *notification) describeShown() {
	gjson.ParseBytes(n.shown).ForEach(func(_, e gjson.Result) bool {
		content := e.Get("content")
		switch e.Get("type").Str {
		case "m.room.member":
			if e.Get("state_key").Str == n.event.Sender {
				n.senderName = content.Get("displayname").Str
			}
		case "m.room.name":
			n.roomName = content.Get("name").Str
		case "m.room.canonical_alias":
			n.roomAlias = content.Get("alias").Str
		}
		return true
	})
}

// The parts of a notification as the Push Gateway API writes it.
type (
	wire struct {
		EventID           string         `json:"event_id,omitzero"`
		RoomID            string         `json:"room_id,omitzero"`
		Type              string         `json:"type,omitzero"`
		Sender            string         `json:"sender,omitzero"`
		SenderDisplayName string         `json:"sender_display_name,omitzero"`
		RoomName          string         `json:"room_name,omitzero"`
		RoomAlias         string         `json:"room_alias,omitzero"`
		UserIsTarget      bool           `json:"user_is_target,omitzero"`
		Content           jsontext.Value `json:"content,omitzero"`
		Prio              string         `json:"prio"`
		Counts            *counts        `json:"counts,omitzero"`
		Devices           []device       `json:"devices"`
	}
	// Zeros should be left out, but gateways take a missing number for no news: only a zero clears the number on the app's icon.
	counts struct {
		Unread int64 `json:"unread"`
	}
	device struct {
		AppID     string                    `json:"app_id"`
		Pushkey   string                    `json:"pushkey"`
		PushkeyTS int64                     `json:"pushkey_ts"` // s
		Data      map[string]jsontext.Value `json:"data"`
		Tweaks    map[string]jsontext.Value `json:"tweaks"`
	}
)

// countsItself reports whether the app does not want to be told how much is unread (MSC4076): it knows what is encrypted.
func countsItself(p schema.Pusher) bool {
	return gjson.GetBytes(p.Data, "disable_badge_count").Bool() || gjson.GetBytes(p.Data, `org\.matrix\.msc4076\.disable_badge_count`).Bool()
}

// body is the notification for a pusher.
func (n *notification) body(p schema.Pusher) ([]byte, error) {
	data := map[string]jsontext.Value{}
	if err := json.Unmarshal(p.Data, &data); err != nil {
		return nil, err
	}
	delete(data, "url")
	w := wire{Prio: "low", Devices: []device{{
		AppID: p.AppID, Pushkey: p.Pushkey, PushkeyTS: p.SetTS / 1000, Data: data, Tweaks: map[string]jsontext.Value{},
	}}}
	if !countsItself(p) {
		w.Counts = &counts{n.unread}
	}
	if n.event != nil {
		w.Devices[0].Tweaks = tweaks(n.actions)
		w.Prio = n.prio(w.Devices[0].Tweaks)
		w.EventID, w.RoomID = n.event.EventID, n.event.RoomID
		if gjson.GetBytes(p.Data, "format").Str != eventIDOnly {
			n.fill(&w)
		}
	}
	return json.Marshal(map[string]wire{"notification": w}, json.Deterministic(true))
}

// fill adds what the event says.
func (n *notification) fill(w *wire) {
	w.Type, w.Sender, w.SenderDisplayName, w.RoomName, w.RoomAlias = n.event.Type, n.event.Sender, n.senderName, n.roomName, n.roomAlias
	w.UserIsTarget = n.event.Type == "m.room.member" && n.event.StateKey != nil && *n.event.StateKey == n.userID
	w.Content = jsontext.Value(gjson.GetBytes(n.event.JSON, "content").Raw)
}

// prio is high for what makes a sound or is highlighted, or may be when the device has decrypted it.
func (n *notification) prio(tweaks map[string]jsontext.Value) string {
	if _, sound := tweaks["sound"]; sound || n.highlight || n.event.Type == "m.room.encrypted" {
		return "high"
	}
	return "low"
}

// tweaks are the actions that say how to present a notification (client-server API, "Push Rules: Actions").
func tweaks(actions []jsontext.Value) map[string]jsontext.Value {
	all := map[string]jsontext.Value{}
	for _, action := range actions {
		parsed := gjson.ParseBytes(action)
		name := parsed.Get("set_tweak")
		if name.Type != gjson.String {
			continue
		}
		value := parsed.Get("value")
		switch {
		case value.Exists():
			all[name.Str] = jsontext.Value(value.Raw)
		case name.Str == "highlight":
			all[name.Str] = jsontext.Value("true")
		}
	}
	return all
}

// membership is that of an m.room.member event.
func membership(row *schema.Event) string { return gjson.GetBytes(row.JSON, "content.membership").Str }
