package client_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// Whoever blocks invites gets none, wherever they would come from; whoever ignores them gets them and does not see them.
func TestInviteFilters(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, eve := w.Register("alice"), w.Register("bob"), w.Register("eve")
	set := func(typ string, content J) {
		t.Helper()
		bob.Put("/user/"+bob.ID+"/account_data/"+typ, content).OK()
	}
	invited := func(room string) bool {
		t.Helper()
		return bob.Get("/sync").OK().At("rooms.invite." + gjson.Escape(room)).Exists()
	}
	told := func() int { return len(bob.Get("/notifications").OK().At("notifications").Array()) }

	early := eve.CreateRoom(J{"invite": []string{bob.ID}})
	if !invited(early) || told() != 1 {
		t.Fatal("nothing is filtered, and bob sees no invite")
	}
	for _, typ := range []string{"m.invite_permission_config", "org.matrix.msc4155.invite_permission_config"} {
		set(typ, J{"blocked_users": []string{eve.ID}})
		room := eve.CreateRoom(J{})
		eve.Post(clienttest.Room(room, "invite"), J{"user_id": bob.ID}).Refused(403, "M_INVITE_BLOCKED")
		eve.Put(clienttest.Room(room, "state", "m.room.member", bob.ID), J{"membership": "invite"}).Refused(403, "M_INVITE_BLOCKED")
		if invited(early) || told() != 0 {
			t.Error("bob sees an invite by somebody who is blocked")
		}
		if friendly := alice.CreateRoom(J{"invite": []string{bob.ID}}); !invited(friendly) {
			t.Error("bob does not see an invite by alice")
		} else {
			bob.Leave(friendly)
		}
		set(typ, J{})
		if !invited(early) {
			t.Error("the invite does not come back")
		}
	}
	for _, typ := range []string{"m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"} {
		set(typ, J{"default_action": "block"})
		alice.Post("/createRoom", J{"invite": []string{bob.ID}}).Refused(403, "M_INVITE_BLOCKED")
		set(typ, J{})
	}
	before := bob.Get("/sync").OK().Text("next_batch")
	set("m.invite_permission_config", J{"ignored_servers": []string{"*"}})
	room := eve.CreateRoom(J{"invite": []string{bob.ID}})
	eve.Get(clienttest.Room(room, "state", "m.room.member", bob.ID)).OK().Has("membership", `"invite"`)
	bob.Get("/sync?since=" + before).OK().Lacks("rooms.invite")
	if invited(room) || told() != 0 {
		t.Error("bob sees an invite that is ignored")
	}
	bob.Join(room)
	if bob.Get("/sync").OK().At("rooms.join."+gjson.Escape(room)).Exists() != true {
		t.Error("bob could not join")
	}
}
