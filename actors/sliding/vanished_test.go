package sliding_test

import (
	"context"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// State that state resolution takes away is told of: as a stub in the proposal's dialect, and by what the room is listed with in both.
func TestStateThatVanishes(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat", "room_version": "11", "power_level_content_override": J{"users": J{alice.User: 100, bob.User: 50}}})
	bob.Join(roomID)
	fork := w.Journal(roomID)
	bob.SetState(roomID, "m.room.name", "", J{"name": "bob's"})
	bob.SetState(roomID, "x.state", "a", J{"n": 1})

	s := newSyncer(t, w)
	req := everything(alice, "")
	req.Lists["all"] = sliding.List{Config: sliding.Config{TimelineLimit: 1, State: sliding.Require(sliding.Rule{Include: []sliding.Element{{}}})}}
	ask := func(connID string, sync func(context.Context, sliding.Request) (*sliding.Response, error), pos string) gjson.Result {
		t.Helper()
		req := req
		req.ConnID, req.Pos = connID, pos
		resp, err := sync(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(raw)
	}
	stable, unstable := ask("s", s.Stable, "").Get("pos").Str, ask("u", s.Unstable, "").Get("pos").Str

	demote(t, w, roomID, alice, fork[len(fork)-1].EventID)

	a := ask("s", s.Stable, stable).Get("rooms").Map()[roomID]
	stubs := map[string]bool{}
	for _, e := range a.Get("required_state").Array() {
		if !e.Get("content").Exists() {
			stubs[e.Raw] = true
		}
	}
	if len(stubs) != 2 || !stubs[`{"type":"m.room.name","state_key":""}`] || !stubs[`{"type":"x.state","state_key":"a"}`] || a.Get("name").Raw != "null" {
		t.Errorf("the room is %s", a.Raw)
	}
	u := ask("u", s.Unstable, unstable).Get("rooms").Map()[roomID]
	for _, e := range u.Get("required_state").Array() {
		if !e.Get("content").Exists() {
			t.Errorf("the unstable dialect has no stubs: %s", u.Raw)
		}
	}
	if u.Get("name").Raw != "null" || !u.Get("heroes").Exists() {
		t.Errorf("the room is %s", u.Raw)
	}
}

// demote sends the room an event that comes after the event only, in which the admin takes all others' power.
func demote(t *testing.T, w *actortest.World, roomID string, admin *actortest.Device, after string) {
	t.Helper()
	auth := map[string]string{}
	var depth int64
	for _, row := range w.Journal(roomID) {
		parsed := gjson.ParseBytes(row.JSON)
		if depth = parsed.Get("depth").Int() + 1; row.StateKey != nil {
			auth[row.Type+"|"+*row.StateKey] = row.EventID
		}
		if row.EventID == after {
			break
		}
	}
	v, _ := roomversion.Get("11")
	e, err := event.Build(event.Proto{RoomID: roomID, Type: "m.room.power_levels", StateKey: new(""), Sender: admin.User,
		Content: w.JSON(J{"users": J{admin.User: 100}}), Depth: depth, OriginServerTS: w.Clock.Now().UnixMilli(), PrevEvents: []string{after},
		AuthEvents: []string{auth["m.room.create|"], auth["m.room.power_levels|"], auth["m.room.member|"+admin.User]}}, v, actortest.ServerName, w.Key)
	if err != nil {
		t.Fatal(err)
	}
	results, err := w.AskRoom(roomID, &messages.ReceivePdus{Origin: "elsewhere", Pdus: []*messages.Pdu{{EventId: e.ID(), Json: e.JSON()}}})
	if err != nil {
		t.Fatal(err)
	}
	if r := results.(*messages.PduResults).Results[0]; r.Status != messages.PduResult_ACCEPTED {
		t.Fatalf("the event is %v", r)
	}
}
