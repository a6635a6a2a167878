package federation

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestHostilePartialJoins: a server takes somebody into a room and keeps its members back, or lies about them. They are had from another server
// (server-server API, send_join: members_omitted, servers_in_room; HARD_PLACES.md 29).
func TestHostilePartialJoins(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	many := func(n int) (names []any) {
		for i := range n {
			names = append(names, fmt.Sprintf("s%d.invalid", i))
		}
		return names
	}
	for name, bad := range map[string]struct {
		servers []any // before the honest one
		lie     func(liar *peers.Crafter, room *peers.Room)
	}{
		"servers that are none":     {servers: []any{"", "a b", "../x", server.Name, "https://example.org"}},
		"servers that are no names": {servers: []any{7, J{}, nil}},
		"ten thousand servers":      {servers: many(10_000)},
		"the state never comes":     {lie: func(liar *peers.Crafter, _ *peers.Room) { liar.Answer("state_ids", hang); liar.Answer("state", hang) }},
		"the state is no JSON": {lie: func(liar *peers.Crafter, _ *peers.Room) {
			liar.Answer("state_ids", text("["))
			liar.Answer("state", text("["))
		}},
		"the state is not told": {lie: func(liar *peers.Crafter, _ *peers.Room) {
			for _, endpoint := range []string{"state", "state_ids"} {
				liar.Answer(endpoint, func(w http.ResponseWriter, _ *http.Request) {
					peers.JSON(w, http.StatusForbidden, J{"errcode": "M_FORBIDDEN"})
				})
			}
		}},
		"the state has a member whom nobody let in": {lie: func(liar *peers.Crafter, room *peers.Room) {
			evil := liar.User("evil")
			p := room.Draft(evil, "m.room.member", `{"membership":"invite"}`, liar.User("victim"))
			e := liar.Make(room, p)
			room.Know(e)
			liar.Answer("state_ids", func(w http.ResponseWriter, r *http.Request) {
				state := append(room.StateBefore(r.URL.Query().Get("event_id")), e)
				peers.JSON(w, http.StatusOK, J{"pdu_ids": peers.IDs(state...), "auth_chain_ids": peers.IDs(room.Chain(state...)...)})
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest, liar := authority.Crafter(t), authority.Crafter(t)
			alice := newPerson(t, server, fmt.Sprint("alice", transactions.Add(1)))
			mallory := honest.User("mallory")
			room := honest.Room(mallory, versionOf(t, "11"))
			for i := range 5 {
				user := honest.User(fmt.Sprint("member", i))
				honest.Put(room, room.Draft(user, "m.room.member", `{"membership":"join"}`, user))
			}
			honest.Share(room, liar)
			if bad.lie != nil {
				bad.lie(liar, room)
			}
			liar.Answer("send_join", func(w http.ResponseWriter, r *http.Request) {
				join, err := room.ReadJoin(r)
				if err != nil {
					peers.JSON(w, http.StatusBadRequest, J{"errcode": "M_BAD_JSON"})
					return
				}
				answer := room.JoinAnswer(liar.Name, join)
				room.Add(join)
				answer["state"] = withoutType(answer["state"], "m.room.member")
				answer["members_omitted"], answer["servers_in_room"] = true, append(append([]any{}, bad.servers...), honest.Name)
				peers.JSON(w, http.StatusOK, answer)
			})
			alice.do("POST", matrixclient.Path("join", room.ID)+"?via="+liar.Name+"&via="+honest.Name, J{})
			members := alice.do("GET", matrixclient.Path("rooms", room.ID, "members"), nil).Get("chunk").Array() // waits for them
			if len(members) != 7 {
				t.Errorf("the room has the members %v", members)
			}
			if room.State()[event.Tuple{Type: "m.room.member", StateKey: alice.UserID}] == "" {
				t.Fatal("alice is not in the room")
			}
			s := &siege{t: t, server: server, alice: alice, mallory: mallory, c: honest, room: room}
			s.healthy()
		})
	}
}
