package admin_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestABlockedRoomIsNotEntered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carl := w.Register("alice"), w.Register("bob"), w.Register("carl")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	carl.Join(roomID)
	path := "/rooms/" + url.PathEscape(roomID)
	w.ask(w.root, "POST", path+"/block", clienttest.J{}, 400)
	w.ask(w.root, "POST", "/rooms/nonsense/block", clienttest.J{"blocked": true}, 400)
	w.ask(w.root, "POST", path+"/block", clienttest.J{"blocked": true}, 200)
	bob.Post(clienttest.Path("join", roomID), clienttest.J{}).Refused(403, "M_FORBIDDEN")
	bob.Post(clienttest.Path("knock", roomID), clienttest.J{}).Refused(403, "M_FORBIDDEN")
	bob.Put(clienttest.Room(roomID, "state", "m.room.member", bob.ID), clienttest.J{"membership": "join"}).Refused(403, "M_FORBIDDEN")
	alice.Post(clienttest.Room(roomID, "invite"), clienttest.J{"user_id": bob.ID}).Refused(403, "M_FORBIDDEN")
	alice.Put(clienttest.Room(roomID, "state", "m.room.member", bob.ID), clienttest.J{"membership": "invite"}).Refused(403, "M_FORBIDDEN")
	carl.Say(roomID, "who is in it stays")
	carl.Put(clienttest.Room(roomID, "state", "m.room.member", carl.ID), clienttest.J{"membership": "join", "displayname": "C"}).OK()
	w.ask(w.root, "POST", "/rooms/!unheard:of/block", clienttest.J{"blocked": true}, 200)
	if list := w.get("/blocked_rooms"); list.Get("blocked_rooms.#").Int() != 2 || list.Get("blocked_rooms.0.by").Str != w.root.ID || !w.get(path).Get("blocked").Bool() {
		t.Errorf("%s", list)
	}
	w.ask(w.root, "POST", path+"/block", clienttest.J{"blocked": false}, 200)
	bob.Join(roomID)
	if w.get("/blocked_rooms").Get("blocked_rooms.#").Int() != 1 {
		t.Error("it is still in the list")
	}
}

func TestARoomIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carl, dora := w.Register("alice"), w.Register("bob"), w.Register("carl"), w.Register("dora")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat", "room_alias_name": "den", "visibility": "public"})
	other := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	bob.Join(roomID)
	alice.Invite(roomID, carl)
	dora.Join(roomID)
	alice.Post(clienttest.Room(roomID, "ban"), clienttest.J{"user_id": dora.ID}).OK()
	path := "/rooms/" + url.PathEscape(roomID) + "/close"
	w.ask(w.root, "POST", "/rooms/!none/close", nil, 404)
	done := w.ask(w.root, "POST", path, clienttest.J{"reason": "too loud"}, 200)
	var left []string
	for _, userID := range done.Get("left").Array() {
		left = append(left, userID.Str)
	}
	if slices.Sort(left); !slices.Equal(left, []string{alice.ID, bob.ID, carl.ID}) || done.Get("more").Bool() || done.Get("failed").Exists() {
		t.Errorf("%s", done)
	}
	if rooms := alice.Get("/joined_rooms").OK().At("joined_rooms").Raw; rooms != `["`+other+`"]` {
		t.Errorf("alice is in %s", rooms)
	}
	bob.Post(clienttest.Path("join", roomID), clienttest.J{}).Refused(403, "M_FORBIDDEN")
	alice.Get(clienttest.Path("directory", "room", "#den:"+clienttest.ServerName)).Refused(404, "M_NOT_FOUND")
	bob.Get(clienttest.Room(roomID, "messages")+"?dir=b").Refused(403, "M_FORBIDDEN")
	if member := w.get("/rooms/" + url.PathEscape(roomID) + "/members?membership=ban").Get("members.0.user_id").Str; member != dora.ID {
		t.Errorf("banned is %q", member)
	}
	row, _, err := schema.Rooms.Get(t.Context(), w.Store, schema.Room{RoomID: roomID})
	if err != nil || row.Published || row.JoinedMembers != 0 {
		t.Errorf("%+v %v", row, err)
	}
	if again := w.ask(w.root, "POST", path, nil, 200); again.Get("left.#").Int() != 0 || again.Get("more").Bool() {
		t.Errorf("closing it again: %s", again)
	}
	w.ask(w.root, "POST", "/rooms/"+url.PathEscape(other)+"/close", clienttest.J{"unblocked": true}, 200)
	if w.get("/blocked_rooms").Get("blocked_rooms.#").Int() != 1 {
		t.Error("the second room is blocked")
	}
}

func TestARoomGetsAnAdministrator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carl := w.Register("alice"), w.Register("bob"), w.Register("carl")
	for _, version := range []string{"10", "12"} {
		roomID := alice.CreateRoom(clienttest.J{"preset": "private_chat", "room_version": version})
		path := "/rooms/" + url.PathEscape(roomID) + "/make_admin"
		levels := func() gjson.Result {
			return gjson.Parse(alice.Get(clienttest.Room(roomID, "state", "m.room.power_levels", "")).OK().At("users").Raw)
		}
		made := w.ask(w.root, "POST", path, clienttest.J{"user_id": "bob"}, 200)
		if made.Get("from").Str != alice.ID || made.Get("power_level").Int() != 100 || !made.Get("invited").Bool() {
			t.Errorf("%s: %s", version, made)
		}
		if level := levels().Get(gjson.Escape(bob.ID)).Int(); level != 100 {
			t.Errorf("%s: bob has %d", version, level)
		}
		bob.Join(roomID)
		w.ask(w.root, "POST", path, clienttest.J{"user_id": bob.ID}, 403) // nothing to give
		alice.Leave(roomID)
		if made := w.ask(w.root, "POST", path, clienttest.J{"user_id": carl.ID}, 200); made.Get("from").Str != bob.ID {
			t.Errorf("%s: %s", version, made)
		}
		bob.Leave(roomID)
		w.ask(w.root, "POST", path, clienttest.J{"user_id": alice.ID}, 403) // nobody is there
		w.ask(w.root, "POST", path, clienttest.J{}, 400)
		w.ask(w.root, "POST", path, clienttest.J{"user_id": "nobody"}, 404)
	}
}
