package client_test

import (
	"net/url"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

const noticePath = "/_synapse/admin/v1/send_server_notice"

// administrator registers one.
func administrator(w *clienttest.World, name string) *clienttest.User {
	w.T.Helper()
	u := w.Register(name)
	row, _, err := schema.Accounts.Get(w.T.Context(), w.Store, schema.Account{UserID: u.ID})
	if err != nil {
		w.T.Fatal(err)
	}
	row.Admin = true
	w.Write(schema.Accounts.Put(row))
	w.Tokens.Forget(u.ID)
	return u
}

func notice(to *clienttest.User, text string) J {
	return J{"user_id": to.ID, "content": J{"msgtype": "m.text", "body": text}}
}

func TestServerNotices(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	boss, alice := administrator(w, "boss"), w.Register("alice")
	first := boss.Post(noticePath, notice(alice, "welcome")).OK().Text("event_id")
	sync := alice.Get("/sync").OK()
	var roomID string
	for id, invite := range gjson.Get(sync.Raw, "rooms.invite").ForEach {
		roomID = id.Str
		if inviter := invite.Get(`invite_state.events.#(state_key=="` + alice.ID + `").sender`).Str; inviter != "@_server:"+clienttest.ServerName {
			t.Errorf("the invite is of %q", inviter)
		}
	}
	if roomID == "" {
		t.Fatalf("no invite: %s", sync.Raw)
	}
	leave := clienttest.Room(roomID, "leave")
	alice.Post(leave, J{}).Refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
	alice.Put(clienttest.Room(roomID, "state", "m.room.member", alice.ID), J{"membership": "leave"}).Refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")

	alice.Join(roomID)
	alice.Get(clienttest.Room(roomID, "event", first)).OK().Has("content.body", `"welcome"`)
	alice.Get("/user/"+alice.ID+"/rooms/"+url.PathEscape(roomID)+"/tags").OK().Has(`tags.m\.server_notice`, `{}`)
	alice.Get(clienttest.Room(roomID, "state", "m.room.name", "")).OK().Has("name", `"Notices"`)
	alice.Post(clienttest.Room(roomID, "send", "m.room.message"), J{"body": "thanks"}).Refused(403, "M_FORBIDDEN")
	alice.Post(clienttest.Room(roomID, "invite"), J{"user_id": boss.ID}).Refused(403, "M_FORBIDDEN")

	alice.Post(leave, J{}).OK()
	second := boss.Post(noticePath, notice(alice, "come back")).OK().Text("event_id")
	alice.Post(leave, J{}).Refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
	alice.Join(roomID)
	alice.Get(clienttest.Room(roomID, "event", second)).OK().Has("content.body", `"come back"`)
}

func TestServerNoticesOfATransactionAreSentOnce(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	boss, other, alice := administrator(w, "boss"), administrator(w, "other"), w.Register("alice")
	answers := make([]string, 4)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i] = boss.Put(noticePath+"/one", notice(alice, "once")).OK().Text("event_id") })
	}
	group.Wait()
	for _, again := range append(answers, boss.Put(noticePath+"/one", notice(alice, "once")).OK().Text("event_id")) {
		if again != answers[0] {
			t.Errorf("one transaction made the events %s and %s", answers[0], again)
		}
	}
	if different := other.Put(noticePath+"/one", notice(alice, "once")).OK().Text("event_id"); different == answers[0] {
		t.Error("two administrators share a transaction")
	}
	if got := gjson.Get(alice.Get("/sync").OK().Raw, "rooms.invite.@keys.#").Int(); got != 1 {
		t.Errorf("there are %d rooms of notices", got)
	}
}

func TestServerNoticesAreOfAdministratorsToLocalUsers(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	boss, alice := administrator(w, "boss"), w.Register("alice")
	alice.Post(noticePath, notice(boss, "x")).Refused(403, "M_FORBIDDEN")
	w.Nobody().Post(noticePath, notice(boss, "x")).Refused(401, "M_MISSING_TOKEN")
	content := J{"body": "x"}
	for _, c := range []struct {
		body   J
		status int
		code   string
	}{
		{J{"content": content}, 400, "M_MISSING_PARAM"},
		{J{"user_id": alice.ID}, 400, "M_MISSING_PARAM"},
		{J{"user_id": alice.ID, "content": "x"}, 400, "M_BAD_JSON"},
		{J{"user_id": alice.ID, "content": content, "type": "m.room.member", "state_key": alice.ID}, 400, "M_INVALID_PARAM"},
		{J{"user_id": "@a:elsewhere.org", "content": content}, 400, "M_INVALID_PARAM"},
		{J{"user_id": "@_server:" + clienttest.ServerName, "content": content}, 400, "M_INVALID_PARAM"},
		{J{"user_id": "@nobody:" + clienttest.ServerName, "content": content}, 404, "M_NOT_FOUND"},
	} {
		boss.Post(noticePath, c.body).Refused(c.status, c.code)
	}
	boss.Post(noticePath, J{"user_id": alice.ID, "content": J{"topic": "news"}, "type": "m.room.topic", "state_key": ""}).OK()

	wary := w.Register("wary")
	wary.Put("/user/"+wary.ID+"/account_data/m.invite_permission_config", J{"default_action": "block"}).OK()
	boss.Post("/createRoom", J{"invite": []string{wary.ID}}).Refused(403, "M_INVITE_BLOCKED")
	boss.Post(noticePath, notice(wary, "x")).OK() // the server's own notices come through
	wary.Get("/sync").OK().Has("rooms.invite.@keys.#", "1")
	wary.Get("/notifications").OK().Has("notifications.#", "1")
	reserved := "#_server_notices_x:" + clienttest.ServerName
	alice.Put("/directory/room/"+url.PathEscape(reserved), J{"room_id": alice.CreateRoom(J{})}).Refused(400, "M_EXCLUSIVE")
	alice.Post("/createRoom", J{"room_alias_name": "_server_notices_x"}).Refused(400, "M_EXCLUSIVE")
}

func TestServerNoticesAccountIsReserved(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.v3("POST", "/register", "", m{"username": "_server", "password": pass, "auth": m{"type": "m.login.dummy"}}).refused(400, "M_EXCLUSIVE")
	s.v3("GET", "/register/available?username=_server", "", nil).refused(400, "M_EXCLUSIVE")
}

// Anybody else's invite can be rejected.
func TestServerNoticesAccountThatSomebodyHas(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	boss, alice := administrator(w, "boss"), w.Register("alice")
	w.Write(schema.Accounts.Put(schema.Account{UserID: "@_server:" + clienttest.ServerName, PasswordHash: "x"}))
	boss.Post(noticePath, notice(alice, "x")).Refused(409, "M_USER_IN_USE")
	roomID := boss.CreateRoom(J{"invite": []string{alice.ID}})
	alice.Post(clienttest.Room(roomID, "leave"), J{}).OK()
}
