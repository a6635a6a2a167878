package appservice

import (
	"context"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A ghost that another server invites into a room of its own hears of it, and of its end, though no event of the room is here.
func TestOutsideInvites(t *testing.T) {
	t.Parallel()
	store := memory.New(memory.Options{})
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	users, err := appservice.Compile("@_irc_.*")
	if err != nil {
		t.Fatal(err)
	}
	set := appservice.NewSet("example.org", &appservice.Registration{ID: "irc", URL: "http://irc", SenderLocalpart: "_irc", Users: []appservice.Namespace{{Regexp: users}}})
	now := func() time.Time { return time.UnixMilli(5000) }
	rows := reader.New(store, now, "")
	var events []gjson.Result
	p := &pump{id: "irc", publish: func(*status) {}, desk: NewBoard().enter("irc", func() {}, func() figures { return figures{} }), deps: Deps{
		Store: store, Reader: rows, Set: func() *appservice.Set { return set }, Now: now,
		Send: func(_ context.Context, _ *appservice.Registration, _ string, body []byte) error {
			events = append(events, gjson.GetBytes(body, "events").Array()...)
			return nil
		}}}
	stream := persistence.Stream{Kind: "appservice", ID: "irc"}
	claimed, err := store.Claim(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	p.epoch, p.seq = claimed.Epoch, claimed.Seq
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorder := &Recorder{Store: store, Set: p.deps.Set}
	room := persistence.Stream{Kind: "room", ID: "!far"}
	if claimed, err = store.Claim(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	ghost, person := "@_irc_nick:example.org", "@alice:example.org"
	happens := func(userID, membership, eventID, shown string) {
		t.Helper()
		_, err := persistence.Await(t.Context(), recorder, &persistence.Commit{Stream: room, Epoch: claimed.Epoch,
			Write:   []persistence.Mutation{schema.Memberships.Put(schema.Membership{UserID: userID, RoomID: "!far", Membership: membership, EventID: eventID, Sender: "@bob:far", StrippedState: []byte(shown)})},
			Notices: []proto.Message{&messages.RoomNotice{RoomId: "!far", Events: []*messages.RoomEvent{{Type: "m.room.member", StateKey: &userID, Sender: "@bob:far", EventId: eventID, Membership: membership}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	const shown = `[{"type":"m.room.name","state_key":"","sender":"@bob:far","content":{"name":"Far"}},` +
		`{"type":"m.room.member","state_key":"@_irc_nick:example.org","sender":"@bob:far","content":{"membership":"invite","reason":"come"}}]`
	happens(person, "invite", "$other", shown)
	happens(ghost, "invite", "$invite", shown)
	if err := p.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	happens(ghost, "leave", "$leave", "")
	if err := p.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 {
		t.Fatalf("%d events came: %v", len(events), events)
	}
	for i, want := range []map[string]string{
		{"event_id": "$invite", "room_id": "!far", "sender": "@bob:far", "state_key": ghost, "content.reason": "come", "unsigned.invite_room_state.0.content.name": "Far", "origin_server_ts": "5000"},
		{"event_id": "$leave", "room_id": "!far", "content.membership": "leave", "unsigned": ""},
	} {
		for path, value := range want {
			if got := events[i].Get(path).String(); got != value {
				t.Errorf("event %d, %s: %q, not %q", i+1, path, got, value)
			}
		}
	}
}
