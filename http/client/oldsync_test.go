package client_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestEventStream(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	first, second := alice.CreateRoom(J{"preset": "public_chat"}), alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(first)
	before := alice.Say(first, "before")
	start := bob.Get("/events").OK().Has(`chunk.#(type!="m.presence")#`, "[]").Text("end")
	listen := func(from, more string) *clienttest.Answer {
		return bob.Get("/events?from=" + url.QueryEscape(from) + more).OK()
	}
	listen(start, "").Has(`chunk.#(type!="m.presence")#`, "[]").Has("start", `"`+start+`"`)
	said := alice.Say(first, "hello")
	bob.Put(clienttest.Path("sendToDevice", "m.dummy", "t"), J{"messages": J{bob.ID: J{"DEVICE": J{}}}}).OK()
	alice.Say(second, "not for bob")
	a := listen(start, "&timeout=1000").Has(`chunk.#(type=="m.room.message")#.event_id`, `["`+said+`"]`).
		Has(`chunk.#(type=="m.room.message").room_id`, `"`+first+`"`).Lacks(`chunk.#(event_id=="` + before + `")`)
	// To-device messages are not the stream's, and wait for a sync.
	a.Lacks(`chunk.#(type=="m.dummy")`)
	bob.Get("/sync?since="+a.Text("end")).OK().Has("to_device.events.#.type", `["m.dummy"]`)
	// It waits.
	heard := make(chan *clienttest.Answer)
	go func() { heard <- listen(a.Text("end"), "&timeout=30000") }()
	later := alice.Say(first, "later")
	if got := (<-heard).Texts(`chunk.#(type=="m.room.message")#.event_id`); !slices.Equal(got, []string{later}) {
		t.Errorf("heard %v", got)
	}
	alice.Invite(second, bob)
	listen(a.Text("end"), "").Has(`chunk.#(type=="m.room.member").content.membership`, `"invite"`).
		Has(`chunk.#(type=="m.room.member").room_id`, `"`+second+`"`)
	alice.Put(clienttest.Room(first, "typing", alice.ID), J{"typing": true, "timeout": 30000}).OK()
	listen(a.Text("end"), "").Has(`chunk.#(type=="m.typing").room_id`, `"`+first+`"`)
	bob.Get("/events?from=x").Refused(400, "M_INVALID_PARAM")
	bob.Get("/events?timeout=x").Refused(400, "M_INVALID_PARAM")
	w.Nobody().Get("/events").Refused(401, "M_MISSING_TOKEN")

	alice.Get("/events/"+said).OK().Has("event_id", `"`+said+`"`).Has("room_id", `"`+first+`"`)
	w.Register("stranger").Get("/events/"+said).Refused(404, "M_NOT_FOUND")
	alice.Get("/events/$none").Refused(404, "M_NOT_FOUND")
}

func TestPeeking(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, stranger := w.Register("alice"), w.Register("stranger")
	open := alice.CreateRoom(J{"preset": "public_chat", "initial_state": []J{
		{"type": "m.room.history_visibility", "content": J{"history_visibility": "world_readable"}}}})
	closed := alice.CreateRoom(J{"preset": "public_chat"})
	first := alice.Say(open, "first")
	second := alice.Say(open, "second")
	a := stranger.Get(clienttest.Room(open, "initialSync")+"?limit=2").OK().Has("room_id", `"`+open+`"`).Lacks("membership").
		Has("messages.chunk.#.event_id", `["`+first+`","`+second+`"]`).Has("visibility", `"private"`).Has("account_data", "[]").
		Has(`state.#(type=="m.room.create").room_id`, `"`+open+`"`)
	stranger.Get(clienttest.Room(open, "messages")+"?dir=b&limit=1&from="+a.Text("messages.start")).OK().Has("chunk.#.type", `["m.room.history_visibility"]`)
	peek := func(more string) *clienttest.Answer {
		return stranger.Get("/events?room_id=" + url.QueryEscape(open) + more)
	}
	end := a.Text("messages.end")
	peek("&from="+end).OK().Has("chunk", "[]").Has("end", `"`+end+`"`)
	peek("").OK().Has("chunk", "[]").Has("end", `"`+end+`"`)
	heard := make(chan *clienttest.Answer)
	go func() { heard <- peek("&timeout=30000&from=" + end).OK() }()
	third := alice.Say(open, "third")
	if got := (<-heard).Has("start", `"`+end+`"`).Texts("chunk.#.event_id"); !slices.Equal(got, []string{third}) {
		t.Errorf("heard %v", got)
	}
	// Once the room is closed, nothing more is told.
	alice.SetState(open, "m.room.history_visibility", "", J{"history_visibility": "joined"})
	peek("&from="+end).Refused(403, "M_FORBIDDEN")
	stranger.Get(clienttest.Room(closed, "initialSync")).Refused(403, "M_FORBIDDEN")
	stranger.Get("/events?room_id="+url.QueryEscape(closed)).Refused(403, "M_FORBIDDEN")
	stranger.Get("/events?room_id=x").Refused(400, "M_INVALID_PARAM")
	stranger.Get(clienttest.Room("!none:example.org", "initialSync")).Refused(403, "M_FORBIDDEN")
}

func TestInitialSync(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	joined, left, invited := alice.CreateRoom(J{"preset": "public_chat", "visibility": "public"}), alice.CreateRoom(J{"preset": "public_chat"}), alice.CreateRoom(J{})
	bob.Join(joined)
	bob.Join(left)
	bob.Leave(left)
	alice.Invite(invited, bob)
	one, two := alice.Say(joined, "one"), alice.Say(joined, "two")
	bob.Put("/user/"+bob.ID+"/rooms/"+joined+"/account_data/org.example", J{"a": 1}).OK()
	bob.Put("/user/"+bob.ID+"/account_data/org.example.global", J{"b": 1}).OK()
	room := func(id string) string { return `rooms.#(room_id=="` + id + `")` }
	a := bob.Get("/initialSync?limit=2").OK().Has("rooms.#", "2").
		Has(room(joined)+".membership", `"join"`).Has(room(joined)+".visibility", `"public"`).
		Has(room(joined)+".messages.chunk.#.event_id", `["`+one+`","`+two+`"]`).
		Has(room(joined)+".messages.chunk.0.room_id", `"`+joined+`"`).
		Has(room(joined)+`.state.#(type=="m.room.create").room_id`, `"`+joined+`"`).
		Has(room(joined)+`.account_data.#(type=="org.example").content.a`, "1").
		Has(room(invited)+".membership", `"invite"`).Has(room(invited)+".invite.content.membership", `"invite"`).
		Has(`account_data.#(type=="org.example.global").content.b`, "1")
	if !a.At("presence").IsArray() {
		t.Errorf("presence: %s", a.Raw)
	}
	end := a.Text("end")
	three := alice.Say(joined, "three")
	bob.Get("/events?from="+end).OK().Has(`chunk.#(type=="m.room.message").event_id`, `"`+three+`"`)
	bob.Get("/initialSync?archived=true").OK().Has("rooms.#", "3").Has(room(left)+".membership", `"leave"`)
	bob.Get("/initialSync?limit=0").OK().Has(room(joined)+".messages.chunk", "[]")
	bob.Get("/initialSync?archived=x").Refused(400, "M_INVALID_PARAM")
	bob.Get(clienttest.Room(joined, "initialSync")).OK().Has("membership", `"join"`).Has("visibility", `"public"`).
		Has(`account_data.#(type=="org.example").content.a`, "1")
	w.Nobody().Get("/initialSync").Refused(401, "M_MISSING_TOKEN")
}
