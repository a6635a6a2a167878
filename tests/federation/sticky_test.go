package federation

import (
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestWhatSticksReachesEverybody: a sticky event (MSC4354) is sent to the servers in the room, and to one that comes later, where it is told though
// nobody there may read the history.
func TestWhatSticksReachesEverybody(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 3)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob, carol := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob"), newPerson(t, servers[2], "carol")
	roomID := alice.create(J{"preset": "public_chat", "initial_state": []J{
		{"type": "m.room.history_visibility", "content": J{"history_visibility": "joined"}}}})
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	since := bob.do("GET", "/sync", nil).Get("next_batch").Str
	sticky := alice.do("PUT", matrixclient.Path("rooms", roomID, "send", "org.matrix.msc4143.rtc.member", "t1")+"?org.matrix.msc4354.sticky_duration_ms=600000",
		J{"msc4354_sticky_key": "DEV"}).Get("event_id").Str
	for range 15 {
		alice.say(roomID, "something else")
	}
	bob.sees(roomID, alice.say(roomID, "the last"))
	sticks := func(p *person, since string) {
		t.Helper()
		path := "/sync?timeout=0"
		if since != "" {
			path += "&since=" + since
		}
		p.eventually("the sticky event", func() bool {
			room := p.do("GET", path, nil).Get("rooms.join").Map()[roomID]
			return slices.ContainsFunc(append(room.Get("msc4354_sticky.events").Array(), room.Get("timeline.events").Array()...), func(e gjson.Result) bool {
				return e.Get("event_id").Str == sticky && e.Get("msc4354_sticky.duration_ms").Int() == 600_000 && e.Get("unsigned.msc4354_sticky_duration_ttl_ms").Int() > 0
			})
		})
	}
	sticks(bob, since)
	since = carol.do("GET", "/sync", nil).Get("next_batch").Str
	carol.joinVia(roomID, servers[0].Name)
	sticks(carol, since)
	sticks(carol, "")
}
