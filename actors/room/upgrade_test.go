package room

import (
	"context"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// states gives the contents of a room's state.
func (s *server) states(roomID string) map[[2]string]gjson.Result {
	s.t.Helper()
	out := map[[2]string]gjson.Result{}
	journal := s.journal(roomID)
	rows, err := schema.CurrentStates.All(context.Background(), s.store, persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID}, Keys: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, row := range rows {
		out[[2]string{row.Type, row.StateKey}] = gjson.GetBytes(journal[row.Seq-1].JSON, "content")
	}
	return out
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to string }{{"5", "11"}, {"10", "12"}, {"12", "11"}, {"12", "12"}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newMemory(t))
			old := s.create(alice, `{"room_version":"`+c.from+`","preset":"public_chat","visibility":"public","room_alias_name":"pub","name":"The Pub",
				"creation_content":{"type":"m.space","m.federate":false},
				"initial_state":[{"type":"m.space.child","state_key":"!child:test","content":{"via":["test"]}},
					{"type":"m.space.child","state_key":"!gone:test","content":{}},
					{"type":"org.example.custom","content":{"a":1}}]}`)
			s.must(old, change(bob, messages.ChangeMembership_JOIN, bob))
			s.must(old, change(alice, messages.ChangeMembership_BAN, carol))
			if _, err := s.creator.Upgrade(context.Background(), by(bob), old, room.UpgradeRequest{NewVersion: c.to}); err == nil {
				t.Fatal("bob may not upgrade")
			}
			s.must(old, text(bob, "the room still works", "t"))

			next, err := s.creator.Upgrade(context.Background(), by(alice), old, room.UpgradeRequest{NewVersion: c.to, AdditionalCreators: []string{bob}})
			if err != nil {
				t.Fatal(err)
			}
			state := s.states(next)
			create := state[[2]string{"m.room.create", ""}]
			if create.Get("predecessor.room_id").Str != old || create.Get("type").Str != "m.space" || create.Get(`m\.federate`).Bool() || create.Get("room_version").Str != c.to {
				t.Errorf("the new room is created with %s", create)
			}
			if got := create.Get("additional_creators.0").Str; c.to == "12" && got != bob || c.to != "12" && got != "" {
				t.Errorf("the additional creator is %q", got)
			}
			if (create.Get("predecessor.event_id").Str == "") != (c.to == "12") {
				t.Errorf("the predecessor is %s", create.Get("predecessor"))
			}
			for tuple, want := range map[[2]string]string{
				{"m.room.name", ""}:                 `{"name":"The Pub"}`,
				{"m.room.canonical_alias", ""}:      `{"alias":"#pub:test"}`,
				{"m.room.join_rules", ""}:           `{"join_rule":"public"}`,
				{"m.space.child", "!child:test"}:    `{"via":["test"]}`,
				{"m.room.member", "@carol:test"}:    `{"membership":"ban"}`,
				{"m.space.child", "!gone:test"}:     "",
				{"org.example.custom", ""}:          "",
				{"m.room.member", "@bob:test"}:      "",
				{"m.room.history_visibility", ""}:   `{"history_visibility":"shared"}`,
				{"m.room.third_party_invite", "xx"}: "",
			} {
				if got := state[tuple].Raw; got != want {
					t.Errorf("%v of the new room is %s, want %s", tuple, got, want)
				}
			}
			levels := state[[2]string{"m.room.power_levels", ""}]
			// Who created a room of version 12 may do there whatever takes 150, and still may in a room where levels bind everybody.
			want := map[string]int64{"5 to 11": 100, "12 to 11": 150}[c.from+" to "+c.to]
			if alices := levels.Get("users." + gjson.Escape(alice)); alices.Int() != want || alices.Exists() != (want != 0) {
				t.Errorf("the power levels are %s", levels)
			}
			if tombstone := s.states(old)[[2]string{"m.room.tombstone", ""}]; tombstone.Get("replacement_room").Str != next {
				t.Errorf("the tombstone is %s", tombstone)
			}
			if closed := s.states(old)[[2]string{"m.room.power_levels", ""}]; closed.Get("events_default").Int() != 50 || closed.Get("invite").Int() != 50 {
				t.Errorf("the old room's power levels are %s", closed)
			}
			s.refused(old, text(bob, "too late", "t2"), 403, "M_FORBIDDEN")
			alias, _, err := schema.Aliases.Get(context.Background(), s.store, schema.Alias{Alias: "#pub:test"})
			if err != nil || alias.RoomID != next || alias.Creator != alice {
				t.Errorf("the alias is %+v, %v", alias, err)
			}
			if s.summary(old).Published || !s.summary(next).Published || s.summary(old).UpgradedTo != next {
				t.Errorf("the directory shows %+v and %+v", s.summary(old), s.summary(next))
			}
		})
	}
}

func TestUpgradeRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	old := s.create(alice, `{"preset":"public_chat"}`)
	for name, c := range map[string]struct {
		by, room string
		req      room.UpgradeRequest
		want     string
	}{
		"version":  {alice, old, room.UpgradeRequest{NewVersion: "99"}, "M_UNSUPPORTED_ROOM_VERSION"},
		"stranger": {bob, old, room.UpgradeRequest{NewVersion: "12"}, "M_FORBIDDEN"},
		"no room":  {alice, "!none", room.UpgradeRequest{NewVersion: "12"}, "M_NOT_FOUND"},
		"creators": {alice, old, room.UpgradeRequest{NewVersion: "12", AdditionalCreators: []string{"bob"}}, "M_INVALID_PARAM"},
	} {
		_, err := s.creator.Upgrade(context.Background(), by(c.by), c.room, c.req)
		if err == nil || err.Error()[:len(c.want)] != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if n := len(s.journal(old)); n != 6 {
		t.Errorf("the old room has %d events", n)
	}
}
