package push_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestNotification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k1")
	id := w.bob.Say(w.room, "hello")
	w.look()
	n := w.gateway.next()
	for path, want := range map[string]string{
		"event_id": `"` + id + `"`, "room_id": `"` + w.room + `"`, "type": `"m.room.message"`, "sender": `"@bob:test"`, "room_name": `"Kitchen"`,
		"content.body": `"hello"`, "counts.unread": "1", "prio": `"low"`, "devices.#": "1", "devices.0.app_id": `"org.app"`,
		"devices.0.pushkey": `"k1"`, "devices.0.data": `{"brand":"x"}`, "devices.0.tweaks": "{}", "user_is_target": "",
		"devices.0.pushkey_ts": fmt.Sprint(w.Clock.Now().Unix()),
	} {
		same(t, n, path, want)
	}
	// What is said to her is loud.
	w.bob.Send(w.room, "m.room.message", j{"msgtype": "m.text", "body": "alice!", "m.mentions": j{"user_ids": []string{w.alice.User}}})
	w.look()
	n = w.gateway.next()
	same(t, n, "prio", `"high"`)
	same(t, n, "devices.0.tweaks", `{"highlight":true,"sound":"default"}`)
	same(t, n, "counts.unread", "2")
	// What says nothing, and what she says herself, is not worth a push; reading takes the number away.
	w.bob.Send(w.room, "org.example.silent", j{"body": "x"})
	w.alice.Say(w.room, "hi")
	last := w.bob.Say(w.room, "bye")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+last+`"`)
	w.alice.Read(w.room, "m.read", last, "")
	w.look()
	n = w.gateway.next()
	for path, want := range map[string]string{"counts": `{"unread":0}`, "prio": `"low"`, "event_id": "", "room_id": "", "devices.#": "1"} {
		same(t, n, path, want)
	}
}

func TestEventIDOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k", data(`{"url":"https://x.org/_matrix/push/v1/notify","format":"event_id_only","default_payload":{"aps":1}}`))
	id := w.bob.Say(w.room, "secret")
	w.look()
	n := w.gateway.next()
	want := fmt.Sprintf(`{"event_id":"%s","room_id":"%s","prio":"low","counts":{"unread":1},"devices":[{"app_id":"org.app","pushkey":"k","pushkey_ts":%d,`+
		`"data":{"default_payload":{"aps":1},"format":"event_id_only"},"tweaks":{}}]}`, id, w.room, w.Clock.Now().Unix())
	if n.Raw != want {
		t.Errorf("%s\nnot\n%s", n.Raw, want)
	}
}

// An app that counts by itself is told of events only (MSC4076).
func TestAppThatCountsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k", data(`{"url":"https://x.org/_matrix/push/v1/notify","org.matrix.msc4076.disable_badge_count":true}`))
	first := w.bob.Say(w.room, "one")
	w.look()
	n := w.gateway.next()
	same(t, n, "event_id", `"`+first+`"`)
	same(t, n, "counts", "")
	w.alice.Read(w.room, "m.read", first, "")
	w.look()
	second := w.bob.Say(w.room, "two")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+second+`"`)
}

func TestInvite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	private := w.bob.Create(j{"preset": "private_chat"})
	id := w.bob.Invite(private, w.alice)
	w.bob.Say(private, "not for alice yet")
	w.look()
	n := w.gateway.next()
	same(t, n, "event_id", `"`+id+`"`)
	same(t, n, "user_is_target", "true")
	same(t, n, "content.membership", `"invite"`)
	same(t, n, "counts.unread", "1")
	same(t, n, "devices.0.tweaks.sound", `"default"`)
	// What was said before she came is none of hers.
	w.alice.Join(private)
	w.look()
	same(t, w.gateway.next(), "counts.unread", "0")
	id = w.bob.Say(private, "welcome")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+id+`"`)
	w.bob.Kick(private, w.alice)
	w.bob.Say(private, "she is gone")
	w.look()
	same(t, w.gateway.next(), "counts.unread", "0")
	id = w.bob.Say(w.room, "still here")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+id+`"`)
}

// An invite of another server, into a room that nobody here is in, is told as any other; and so is its end.
func TestInviteOfAnotherServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	const roomID, eve = "!far:other", "@eve:other"
	version, _ := roomversion.Get("11")
	tell := func(membership string) *event.Event {
		t.Helper()
		e, err := event.Build(event.Proto{Type: "m.room.member", StateKey: &w.alice.User, Sender: eve, RoomID: roomID, Content: []byte(`{"membership":"` + membership + `"}`),
			PrevEvents: []string{"$before"}, AuthEvents: []string{"$" + membership}}, version, "other", w.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Ask[*messages.EventSent](context.Background(), w.Node, cluster.Identity{Kind: cluster.KindRoom, ID: roomID},
			&messages.SetOutOfBand{Version: "11", Pdu: &messages.Pdu{EventId: e.ID(), Json: e.JSON()}, StrippedState: []byte(`[
				{"type":"m.room.name","state_key":"","sender":"` + eve + `","content":{"name":"Far"}},
				{"type":"m.room.canonical_alias","state_key":"","sender":"` + eve + `","content":{"alias":"#far:other"}},
				{"type":"m.room.member","state_key":"` + eve + `","sender":"` + eve + `","content":{"membership":"join","displayname":"Eve"}}]`)}); err != nil {
			t.Fatal(err)
		}
		w.look()
		return e
	}
	e := tell("invite")
	n := w.gateway.next()
	same(t, n, "event_id", `"`+e.ID()+`"`)
	same(t, n, "room_id", `"`+roomID+`"`)
	same(t, n, "type", `"m.room.member"`)
	same(t, n, "sender", `"`+eve+`"`)
	same(t, n, "sender_display_name", `"Eve"`)
	same(t, n, "room_name", `"Far"`)
	same(t, n, "room_alias", `"#far:other"`)
	same(t, n, "user_is_target", "true")
	same(t, n, "content.membership", `"invite"`)
	same(t, n, "counts.unread", "1")
	same(t, n, "devices.0.tweaks.sound", `"default"`)
	tell("leave")
	same(t, w.gateway.next(), "counts.unread", "0")
	// One that ended before it could be told is not told.
	w.gateway.set(true)
	tell("invite")
	w.gateway.next()
	w.gateway.set(false)
	tell("leave")
	said := w.bob.Say(w.room, "hello")
	w.look()
	same(t, w.later(), "event_id", `"`+said+`"`)
}

// Of what is taken back, or read elsewhere, before it can be pushed, nothing is told but the count.
func TestNoLongerOfInterest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	w.bob.Say(w.room, "read elsewhere")
	read := w.bob.Say(w.room, "this too")
	w.alice.Read(w.room, "m.read.private", read, "")
	taken := w.bob.Say(w.room, "oops")
	w.bob.Room(w.room, &messages.SendEvent{By: w.bob.By(), TxnId: "r",
		Event: &messages.Proposal{Type: "m.room.redaction", Sender: w.bob.User, Content: []byte("{}"), Redacts: taken}})
	id := w.bob.Say(w.room, "the news")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+id+`"`)
}

// A gateway that fails is asked again, later and later, and then told of everything in order; a restart in between loses nothing.
func TestGatewayFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	w.gateway.set(true)
	first := w.bob.Say(w.room, "one")
	w.look()
	same(t, w.gateway.next(), "event_id", `"`+first+`"`)
	second := w.bob.Say(w.room, "two")
	w.look()
	w.restart()
	w.gateway.set(true)
	if err := w.dispatcher.WakeAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	same(t, w.gateway.next(), "event_id", `"`+first+`"`)
	w.gateway.set(false)
	same(t, w.later(), "event_id", `"`+first+`"`)
	same(t, w.gateway.next(), "event_id", `"`+second+`"`)
}

// What a gateway rejects is never sent to again, and goes for the pusher that was rejected only.
func TestRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "gone")
	w.gateway.set(false, "gone", "unknown")
	w.bob.Say(w.room, "one")
	w.look()
	w.gateway.next()
	w.phone(w.alice, "new")
	w.bob.Say(w.room, "two")
	w.look()
	for {
		n := w.gateway.next()
		if n.Get("devices.0.pushkey").Str == "new" {
			break
		}
	}
	if got := rows(t, w.Store, schema.Pushers); len(got) != 1 || got[0].Pushkey != "new" {
		t.Errorf("pushers %v", got)
	}
}

// What waits for a pusher is bounded in number and time.
func TestBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	w.gateway.set(true)
	w.bob.Say(w.room, "the oldest")
	w.look()
	w.gateway.next()
	var ids []string
	for i := range push.QueueBound + 5 {
		ids = append(ids, w.bob.Say(w.room, fmt.Sprint(i)))
	}
	w.look()
	for len(rows(t, w.Store, schema.PushItems)) > push.QueueBound {
		runtime.Gosched()
	}
	w.gateway.set(false)
	same(t, w.later(), "event_id", `"`+ids[5]+`"`)
	for _, id := range ids[6:] {
		same(t, w.gateway.next(), "event_id", `"`+id+`"`)
	}
	w.gateway.set(true)
	w.bob.Say(w.room, "of yesterday")
	w.look()
	w.gateway.next()
	w.gateway.set(false)
	w.Clock.Advance(push.GiveUp + time.Second)
	id := w.bob.Say(w.room, "of today")
	w.look()
	same(t, w.later(), "event_id", `"`+id+`"`)
}

// A pusher that is turned off hears nothing; one that is turned on again hears what comes then.
func TestDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	off := func(p *messages.SetPusher) { p.Enabled = false }
	w.phone(w.alice, "k", off)
	w.bob.Say(w.room, "unheard")
	w.look()
	w.phone(w.alice, "k")
	id := w.bob.Say(w.room, "heard")
	w.look()
	n := w.gateway.next()
	same(t, n, "event_id", `"`+id+`"`)
	same(t, n, "counts.unread", "2")
}

// Threads count apart, and all count for the number on the app.
func TestCountsOfThreads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.phone(w.alice, "k")
	root := w.bob.Say(w.room, "root")
	reply := w.bob.Send(w.room, "m.room.message", j{"msgtype": "m.text", "body": "in it", "m.relates_to": j{"rel_type": "m.thread", "event_id": root}})
	w.look()
	w.gateway.next()
	same(t, w.gateway.next(), "counts.unread", "2")
	w.alice.Read(w.room, "m.read", reply, root)
	w.look()
	same(t, w.gateway.next(), "counts", `{"unread":1}`)
	// An edit of what was read is no news.
	w.bob.Send(w.room, "m.room.message", j{"msgtype": "m.text", "body": "* it", "m.new_content": j{"msgtype": "m.text", "body": "it"},
		"m.relates_to": j{"rel_type": "m.replace", "event_id": root}})
	w.alice.Read(w.room, "m.read", root, "main")
	w.look()
	same(t, w.gateway.next(), "counts", `{"unread":0}`)
}

// Until it is known who has a phone everybody may; then only who has, or had since the start.
func TestWhoMayHaveAPhone(t *testing.T) {
	t.Parallel()
	w := unseen(t)
	w.restart()
	if !w.dispatcher.Anybody() || !w.dispatcher.Has(w.bob.User) {
		t.Error("somebody is denied a phone before it is known who has one")
	}
	w.look()
	if w.dispatcher.Anybody() || w.dispatcher.Has(w.alice.User) {
		t.Error("nobody has a phone")
	}
	w.phone(w.alice, "k1")
	w.Settle()
	w.dispatcher.Publish(w.Store.Position(), []proto.Message{&messages.PusherNotice{UserId: w.alice.User}})
	if !w.dispatcher.Anybody() || !w.dispatcher.Has(w.alice.User) || w.dispatcher.Has(w.bob.User) {
		t.Error("alice has one, and bob has none")
	}
	w.restart()
	w.look()
	if !w.dispatcher.Anybody() || !w.dispatcher.Has(w.alice.User) || w.dispatcher.Has(w.bob.User) {
		t.Error("alice still has one after a restart, and bob has none")
	}
}
