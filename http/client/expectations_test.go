package client_test

import (
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// These scenarios are what clients have come to expect where the specification leaves it open.

func TestOldClientsSendWithoutATransactionID(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	send := clienttest.Room(roomID, "send", "m.room.message")
	first := alice.Post(send, J{"msgtype": "m.text", "body": "twice"}).OK().Text("event_id")
	second := alice.Post(send, J{"msgtype": "m.text", "body": "twice"}).OK().Text("event_id")
	if first == second {
		t.Error("two messages without a transaction id became one")
	}
	alice.Post(clienttest.Room(roomID, "redact", first), J{}).OK()
	alice.Get(clienttest.Room(roomID, "event", first)).OK().Has("content", `{}`)
	w.Register("bob").Post(send, J{"msgtype": "m.text", "body": "intruder"}).Refused(403, "M_FORBIDDEN")
}

func TestWhatJoinsSayGoesIntoTheMemberEvent(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	bob.Put("/profile/"+bob.ID+"/displayname", J{"displayname": "Bob"}).OK()
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Post("/join/"+url.PathEscape(roomID), J{"foo": "bar", "membership": "ban", "join_authorised_via_users_server": alice.ID, "reason": "why not"}).OK()
	alice.Get(clienttest.Room(roomID, "state", "m.room.member", bob.ID)).OK().
		Has("@this", `{"displayname":"Bob","foo":"bar","membership":"join","reason":"why not"}`)
}

func TestAStrangerLearnsNothingOfMessagesFromItsParameters(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{})
	bob.Get(clienttest.Room(roomID, "messages")).Refused(403, "M_FORBIDDEN")
	alice.Get(clienttest.Room(roomID, "messages")).Refused(400, "M_MISSING_PARAM")
}

// A room in a sync has all its parts, though nothing be in them.
func TestRoomsInASyncHaveAllTheirParts(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	for _, test := range []struct{ query, state string }{
		{"", "state"}, {"&use_state_after=true", "state_after"}, {"&org.matrix.msc4222.use_state_after=true", `org\.matrix\.msc4222\.state_after`},
	} {
		a := alice.Get("/sync?timeout=0" + test.query).OK()
		since := a.Text("next_batch")
		alice.Put(clienttest.Room(roomID, "typing", alice.ID), J{"typing": true, "timeout": 20000}).OK()
		later := alice.Get("/sync?timeout=10000&since=" + since + test.query).OK()
		for _, a := range []*clienttest.Answer{a, later} {
			room := a.At("rooms.join." + gjson.Escape(roomID))
			for _, list := range []string{"timeline.events", test.state + ".events", "ephemeral.events", "account_data.events"} {
				if !room.Get(list).IsArray() {
					t.Errorf("%s: %s is no list in %s", test.query, list, room.Raw)
				}
			}
			if room.Get("timeline.prev_batch").Str == "" || !room.Get("timeline.limited").Exists() {
				t.Errorf("%s: %s", test.query, room.Get("timeline").Raw)
			}
		}
		alice.Put(clienttest.Room(roomID, "typing", alice.ID), J{"typing": false}).OK()
	}
}

// Clients ask for the members as of the timeline's beginning, even when that is where the room begins.
func TestMembersAsOfTheBeginningOfARoom(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	at := alice.Get("/sync").OK().Text("rooms.join." + gjson.Escape(roomID) + ".timeline.prev_batch")
	bob.Join(roomID)
	got := alice.Get(clienttest.Room(roomID, "members") + "?at=" + at).OK().Texts("chunk.#.state_key")
	if !slices.Equal(got, []string{alice.ID}) {
		t.Errorf("members are %v", got)
	}
	alice.Get(clienttest.Room(roomID, "messages")+"?dir=b&from="+at).OK().Has("chunk", `[]`)
}

// Whoever comes to share a room with others sees their presence, and they see that of the newcomer.
func TestThePresenceOfThoseWhoAreMet(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	for _, u := range []*clienttest.User{alice, bob} {
		u.Put("/presence/"+u.ID+"/status", J{"presence": "unavailable", "status_msg": "of " + u.ID}).OK()
	}
	sync := func(u *clienttest.User, since string) *clienttest.Answer {
		return u.Get("/sync?set_presence=offline&timeout=0&since=" + since).OK()
	}
	since := map[string]string{alice.ID: sync(alice, "").Text("next_batch"), bob.ID: sync(bob, "").Text("next_batch")}
	bob.Join(roomID)
	for u, other := range map[*clienttest.User]*clienttest.User{alice: bob, bob: alice} {
		a := sync(u, since[u.ID])
		if got := a.At(`presence.events.#(sender=="` + other.ID + `").content.status_msg`).Str; got != "of "+other.ID {
			t.Errorf("%s sees %s", u.ID, a.At("presence").Raw)
		}
		sync(u, a.Text("next_batch")).Lacks(`presence.events.#(sender=="` + other.ID + `")`)
	}
}

// Whoever comes into the room that replaces another keeps the settings for it (client-server API, "Room Upgrades").
func TestSettingsMoveWithAnUpgradedRoom(t *testing.T) {
	t.Parallel()
	for _, byHand := range []bool{false, true} {
		w := clienttest.New(t)
		alice, bob := w.Register("alice"), w.Register("bob")
		old := alice.CreateRoom(J{"preset": "public_chat", "room_version": "10"})
		bob.Join(old)
		for _, u := range []*clienttest.User{alice, bob} {
			u.Put("/pushrules/global/room/"+url.PathEscape(old), J{"actions": []string{"dont_notify"}}).OK()
			u.Put("/pushrules/global/override/"+url.PathEscape(old), J{"actions": []string{}, "conditions": []J{{"kind": "event_match", "key": "room_id", "pattern": old}}}).OK()
			u.Put("/user/"+u.ID+"/rooms/"+url.PathEscape(old)+"/tags/u.work", J{"order": 0.5}).OK()
			u.Put("/user/"+u.ID+"/account_data/m.direct", J{"@carol:example.org": []string{old}, "@dave:example.org": []string{"!x:example.org"}}).OK()
		}
		var replacement string
		if byHand {
			replacement = alice.CreateRoom(J{"preset": "public_chat", "creation_content": J{"predecessor": J{"room_id": old}}})
			alice.Get("/pushrules/global/room/"+url.PathEscape(replacement)).Refused(404, "M_NOT_FOUND") // the old room does not say so
			alice.Put(clienttest.Room(old, "state", "m.room.tombstone"), J{"body": "moved", "replacement_room": replacement}).OK()
		} else {
			replacement = alice.Post(clienttest.Room(old, "upgrade"), J{"new_version": "11"}).OK().Text("replacement_room")
		}
		bob.Join(replacement)
		for _, u := range []*clienttest.User{alice, bob} {
			u.Get("/pushrules/global/room/"+url.PathEscape(replacement)).OK().Has("actions", `["dont_notify"]`)
			u.Get("/pushrules/global/override/"+url.PathEscape(replacement)).OK().Has("conditions.0.pattern", strconv.Quote(replacement))
			u.Get("/user/"+u.ID+"/rooms/"+url.PathEscape(replacement)+"/tags").OK().Has(`tags.u\.work`, `{"order":0.5}`)
			u.Get("/user/"+u.ID+"/account_data/m.direct").OK().Has("@this",
				`{"@carol:example.org":["`+old+`","`+replacement+`"],"@dave:example.org":["!x:example.org"]}`)
		}
		// A room that claims to replace another without being named there gets nothing.
		claimed := alice.CreateRoom(J{"preset": "public_chat", "creation_content": J{"predecessor": J{"room_id": old}}})
		bob.Join(claimed)
		bob.Get("/pushrules/global/room/"+url.PathEscape(claimed)).Refused(404, "M_NOT_FOUND")
	}
}

func TestARoomIsNotReplacedByItself(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	alice.Put(clienttest.Room(roomID, "state", "m.room.tombstone"), J{"replacement_room": roomID}).Refused(400, "M_INVALID_PARAM")
	alice.Post(clienttest.Room(roomID, "send", "m.room.tombstone"), J{"replacement_room": roomID}).Refused(400, "M_INVALID_PARAM")
}

// Account data about the notifications of a device goes with it (MSC3890).
func TestLocalNotificationSettingsGoWithTheirDevice(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	second := alice.With("SECOND")
	path := "/user/" + alice.ID + "/account_data/org.matrix.msc3890.local_notification_settings.SECOND"
	alice.Put(path, J{"is_silenced": true}).OK()
	since := alice.Get("/sync").OK().Text("next_batch")
	second.Post("/logout", J{}).OK()
	alice.Get(path).Refused(404, "M_NOT_FOUND")
	alice.Get("/sync?timeout=0&since="+since).OK().Has(`account_data.events.#(type%"*msc3890*").content`, `{}`)
}

// Who has read an event both in its thread and without regard to threads has two receipts, and nobody misses one.
func TestReceiptsForOneEventInAndOutsideOfItsThread(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	root := alice.Say(roomID, "root")
	reply := alice.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": "reply", "m.relates_to": J{"rel_type": "m.thread", "event_id": root}})
	for _, body := range []J{{}, {"thread_id": root}} {
		alice.Post(clienttest.Room(roomID, "receipt", "m.read", reply), body).OK()
	}
	var threads []string
	for _, e := range alice.Get("/sync").OK().At("rooms.join." + gjson.Escape(roomID) + `.ephemeral.events.#(type=="m.receipt")#.content`).Array() {
		if mine := e.Get(gjson.Escape(reply) + `.m\.read.` + gjson.Escape(alice.ID)); mine.Exists() {
			threads = append(threads, mine.Get("thread_id").Str)
		}
	}
	slices.Sort(threads)
	if !slices.Equal(threads, []string{"", root}) {
		t.Errorf("receipts are of %q", threads)
	}
}

// A change of one's own profile that the filter leaves out is no news of the room.
func TestAFilteredChangeOfProfileIsNoNews(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	filter := "&filter=" + url.QueryEscape(`{"presence":{"types":[]},"room":{"timeline":{"types":[]},"state":{"types":["a.test"]},"ephemeral":{"types":[]}}}`)
	since := alice.Get("/sync?timeout=0" + filter).OK().Text("next_batch")
	alice.SetState(roomID, "m.room.member", alice.ID, J{"membership": "join", "displayname": "Alice"})
	a := alice.Get("/sync?timeout=0&since=" + since + filter).OK().Lacks("rooms")
	bob.Join(roomID) // the number of members is
	alice.Get("/sync?timeout=0&since="+a.Text("next_batch")+filter).OK().
		Has("rooms.join."+gjson.Escape(roomID)+".summary.m\\.joined_member_count", "2")
}

func TestTheInvitedMaySeeTheContextOfEventsTheyMaySee(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"initial_state": []J{{"type": "m.room.history_visibility", "state_key": "", "content": J{"history_visibility": "invited"}}}})
	before := alice.Say(roomID, "before")
	alice.Invite(roomID, bob)
	since := alice.Say(roomID, "since")
	bob.Get(clienttest.Room(roomID, "context", since)).OK().Has("event.content.body", `"since"`)
	bob.Get(clienttest.Room(roomID, "context", before)).Refused(403, "M_FORBIDDEN")
	w.Register("carol").Get(clienttest.Room(roomID, "context", since)).Refused(403, "M_FORBIDDEN")
}
