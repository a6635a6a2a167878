package federation

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// seesEnd waits until a room is told as left.
func (p *person) seesEnd(roomID string) {
	p.t.Helper()
	p.until("the end of "+roomID, func(sync gjson.Result) bool {
		_, ok := sync.Get("rooms.leave").Map()[roomID]
		return ok
	})
}

// TestInvitesAndKnocksAreEndedAcrossServers: who is not in a room hears that the invite is taken back, or the knock refused, though nobody of
// the server is in the room. Nothing else of the room is told to that server.
func TestInvitesAndKnocksAreEndedAcrossServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	for _, v := range []string{"1", "6", "7", "10", "12"} {
		t.Run("version "+v, func(t *testing.T) {
			t.Parallel()
			alice, bob := newPerson(t, servers[0], "alice"+v), newPerson(t, servers[1], "bob"+v)
			roomID := alice.create(J{"preset": "private_chat", "room_version": v, "name": "Parlour"})
			for _, end := range []string{"kick", "ban"} {
				alice.room(roomID, "invite", J{"user_id": bob.UserID})
				bob.invited(roomID)
				alice.say(roomID, "while bob is invited")
				alice.room(roomID, end, J{"user_id": bob.UserID, "reason": "a mistake"})
				bob.seesEnd(roomID)
			}
			alice.room(roomID, "unban", J{"user_id": bob.UserID})
			if !versionOf(t, v).Knock {
				return
			}
			alice.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.join_rules", ""), J{"join_rule": "knock"})
			bob.do("POST", matrixclient.Path("knock", roomID)+"?via="+servers[0].Name, J{})
			alice.seesMember(roomID, bob.UserID, "knock")
			bob.until("the knock", func(sync gjson.Result) bool { return sync.Get("rooms.knock").Map()[roomID].Exists() })
			alice.room(roomID, "kick", J{"user_id": bob.UserID})
			bob.seesEnd(roomID)
			// And again to the end.
			alice.room(roomID, "invite", J{"user_id": bob.UserID})
			bob.invited(roomID)
			bob.joinVia(roomID, servers[0].Name)
			alice.has(roomID, bob.say(roomID, "thank you"))
			// A room that bob's server was in once.
			bob.room(roomID, "leave", J{})
			alice.seesMember(roomID, bob.UserID, "leave")
			bob.sync(0)
			alice.room(roomID, "invite", J{"user_id": bob.UserID})
			bob.invited(roomID)
			alice.room(roomID, "kick", J{"user_id": bob.UserID})
			bob.seesEnd(roomID)
			if got := bob.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.name", ""), nil); got.Get("name").Str != "Parlour" {
				t.Errorf("bob reads the name %s", got)
			}
		})
	}
}

// TestHostileRecalls: an invite is ended by those who gave it, and by nobody else.
func TestHostileRecalls(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	alice := newPerson(t, server, "alice")
	for _, v := range []string{"2", "11"} {
		c, stranger := authority.Crafter(t), authority.Crafter(t)
		mallory := c.User("mallory")
		room := c.Room(mallory, versionOf(t, v))
		offer := func() *event.Event {
			invite := c.Put(room, room.Draft(mallory, "m.room.member", `{"membership":"invite"}`, alice.UserID))
			if _, err := c.Ask(server, "PUT", "/_matrix/federation/v2/invite/"+escaped(room.ID)+"/"+escaped(invite.ID()),
				J{"room_version": v, "event": peers.PDUs(invite)[0], "invite_room_state": []any{}}); err != nil {
				t.Fatal(err)
			}
			alice.invited(room.ID)
			return invite
		}
		ended := func(by *peers.Crafter, e *event.Event) bool {
			t.Helper()
			if _, err := by.Send(server, "t"+e.ID(), J{"origin": by.Name, "origin_server_ts": 1, "pdus": peers.PDUs(e)}); err != nil {
				t.Fatal(err)
			}
			_, ended := alice.sync(0).Get("rooms.leave").Map()[room.ID]
			return ended
		}
		leave := func(sender string) event.Proto {
			return room.Draft(sender, "m.room.member", `{"membership":"leave"}`, alice.UserID)
		}
		first := offer()
		if ended(stranger, stranger.Make(room, leave(stranger.User("x")))) {
			t.Errorf("version %s: a stranger ends the invite", v)
		}
		if ended(c, stranger.Make(room, leave(mallory))) {
			t.Errorf("version %s: a leave with another's signature ends the invite", v)
		}
		if ended(c, c.Make(room, leave(alice.UserID))) {
			t.Errorf("version %s: a leave in alice's name ends the invite", v)
		}
		end := c.Put(room, leave(mallory))
		if !ended(c, end) {
			t.Errorf("version %s: the invite is not ended by the one who sent it", v)
		}
		// The end of the first invite says nothing of the second.
		if second := offer(); second.ID() == first.ID() || ended(stranger, end) {
			t.Errorf("version %s: an old leave ends a new invite", v)
		}
		if !ended(c, c.Put(room, leave(mallory))) {
			t.Errorf("version %s: the second invite is not ended", v)
		}
	}
}

// TestDelayedInvites (MSC4140): an invite of a user of another server goes out when it is due, also when that server is away then.
func TestDelayedInvites(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	delayed := func(roomID string) {
		t.Helper()
		path := "/_matrix/client/unstable/org.matrix.msc4140/rooms/" + url.PathEscape(roomID) + "/delayed_event/m.room.member/" + fmt.Sprint("t", transactions.Add(1))
		if _, err := alice.Call(t.Context(), "PUT", path, J{"delay_ms": 1, "state_key": bob.UserID, "content": J{"membership": "invite", "reason": "later"}}); err != nil {
			t.Fatal(err)
		}
	}
	roomID := alice.create(J{"preset": "private_chat"})
	delayed(roomID)
	bob.invited(roomID)
	alice.seesState(roomID, "m.room.member", bob.UserID, "reason", "later")
	bob.joinVia(roomID, servers[0].Name)
	bob.sees(roomID, alice.say(roomID, "welcome"))

	servers[1].Stop()
	another := alice.create(J{"preset": "private_chat"})
	delayed(another)
	servers[1].Run()
	bob.invited(another)
}
