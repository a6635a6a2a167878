package appservice

import (
	"fmt"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// A bridge is sent the events of the rooms that its users are in, and of those that its namespaces name, and no others.
func TestEventsOfInterest(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, watcher := newBridge(t, "irc"), newBridge(t, "watch")
	irc.register(folder, irc.ghosts())
	watcher.register(folder, `{aliases: [{exclusive: false, regex: "#watched.*"}]}`)
	w := begin(t, folder)
	alice, bob := w.user("alice"), w.user("bob")
	ghost := w.ghost(irc, "_irc_nick")
	private := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	shared := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	watched := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat", "room_alias_name": "watched1"}))

	unseen := ok[string](t)(alice.Send(w.ctx, private, "m.room.message", "1", m{"body": "between us"}))
	early := ok[string](t)(alice.Send(w.ctx, shared, "m.room.message", "2", m{"body": "before the ghost"}))
	w.must(person(irc, alice), "POST", "/rooms/"+shared+"/invite", "", m{"user_id": ghost})
	w.must(irc, "POST", "/join/"+shared, ghost, m{})
	seen := ok[string](t)(alice.Send(w.ctx, shared, "m.room.message", "3", m{"body": "with the ghost"}))
	own := w.must(irc, "PUT", "/rooms/"+shared+"/send/m.room.message/4", ghost, m{"body": "from the ghost"}).Get("event_id").Str
	if err := bob.Join(w.ctx, shared); err != nil {
		t.Fatal(err)
	}
	w.must(irc, "POST", "/rooms/"+shared+"/leave", ghost, m{})
	late := ok[string](t)(alice.Send(w.ctx, shared, "m.room.message", "5", m{"body": "after the ghost"}))
	named := ok[string](t)(alice.Send(w.ctx, watched, "m.room.message", "6", m{"body": "watched"}))
	w.must(irc, "POST", "/join/"+watched, ghost, m{})
	end := ok[string](t)(alice.Send(w.ctx, watched, "m.room.message", "7", m{"body": "the end"}))

	irc.until("the last event", func() bool { return irc.has(end) })
	watcher.until("the last event", func() bool { return watcher.has(end) })
	for id, want := range map[string]bool{unseen: false, early: false, seen: true, own: true, late: false, named: false, end: true} {
		if irc.has(id) != want {
			t.Errorf("the bridge has event %s: %t", id, !want)
		}
	}
	for id, want := range map[string]bool{unseen: false, seen: false, named: true, end: true} {
		if watcher.has(id) != want {
			t.Errorf("the watcher has event %s: %t", id, !want)
		}
	}
	var members []string
	for _, e := range irc.got("events") {
		if e.Get("type").Str == "m.room.member" && e.Get("room_id").Str == shared {
			members = append(members, e.Get("state_key").Str+" "+e.Get("content.membership").Str)
		}
		if !e.Get("event_id").Exists() || !e.Get("origin_server_ts").Exists() || e.Get("unsigned.membership").Exists() {
			t.Errorf("an event as it should not be: %s", e.Raw)
		}
	}
	want := []string{ghost + " invite", ghost + " join", bob.UserID + " join", ghost + " leave"}
	if !slices.Equal(members, want) {
		t.Errorf("memberships: %v, not %v", members, want)
	}
}

// person lets a person ask where call wants a bridge.
func person(b *bridge, c *matrixclient.Client) *bridge { return &bridge{id: b.id, asToken: c.Token} }

// While an application service fails, everything waits and comes in order afterwards; a transaction is sent again unchanged.
func TestOutage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	alice := w.user("alice")
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	var sent []string
	for i, status := range []int{200, 500, 0, 404, 200} {
		irc.respond(status)
		for j := range 60 {
			sent = append(sent, ok[string](t)(alice.Send(w.ctx, room, "m.room.message", fmt.Sprintf("%d/%d", i, j), m{"body": "x"})))
		}
		if status != 200 {
			irc.until("an attempt that fails", func() bool {
				irc.mu.Lock()
				defer irc.mu.Unlock()
				return len(irc.attempts) > len(irc.bodies)
			})
		}
	}
	irc.until("the last event", func() bool { return irc.has(last(sent)) })
	checkOrder(t, irc, sent)
}

// checkOrder expects the messages of the room, each once and in order.
func checkOrder(t *testing.T, b *bridge, sent []string) {
	t.Helper()
	var got []string
	for _, e := range b.got("events") {
		if e.Get("type").Str == "m.room.message" {
			got = append(got, e.Get("event_id").Str)
		}
	}
	if !slices.Equal(got, sent) {
		t.Errorf("%d events came of %d, or in another order", len(got), len(sent))
	}
}

// A server that is killed loses nothing that an application service should have had.
func TestKill(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	alice := w.user("alice")
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	var sent []string
	for round := range 5 {
		if round%2 == 1 {
			irc.respond(0) // away while the server dies, so that all must be kept
		}
		for j := range 30 {
			sent = append(sent, ok[string](t)(alice.Send(w.ctx, room, "m.room.message", fmt.Sprintf("%d/%d", round, j), m{"body": "x"})))
		}
		w.server.Kill()
		irc.respond(200)
		w.server.Run()
	}
	end := ok[string](t)(alice.Send(w.ctx, room, "m.room.message", "end", m{"body": "x"}))
	sent = append(sent, end)
	irc.until("the last event", func() bool { return irc.has(end) })
	checkOrder(t, irc, sent)
}
