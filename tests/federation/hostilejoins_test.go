package federation

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// text answers with a text that may be no JSON.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// trickle sends a byte now and then, and never ends.
func trickle(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(`{"`))
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// flood answers with a text after which another is repeated, as long as the asker reads.
func flood(first, again string) http.HandlerFunc {
	again = strings.Repeat(again, 1+(64<<10)/len(again))
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write([]byte(first))
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write([]byte(again))
		}
	}
}

// redirect sends the asker into a private network.
func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "https://10.0.0.1/", http.StatusTemporaryRedirect)
}

// badJoin is a lie of a server through which somebody joins.
type badJoin struct {
	name string
	// lie makes the crafter lie about the room.
	lie    func(c *peers.Crafter, room *peers.Room)
	status int // 0: 502
	code   string
}

// inMakeJoin lies in the answer to make_join.
func inMakeJoin(change func(room *peers.Room, answer, e map[string]any)) func(*peers.Crafter, *peers.Room) {
	return func(c *peers.Crafter, room *peers.Room) {
		c.Answer("make_join", func(w http.ResponseWriter, r *http.Request) {
			parts := strings.Split(r.URL.EscapedPath(), "/")
			userID, _ := url.PathUnescape(parts[len(parts)-1])
			e := room.Template(userID)
			answer := map[string]any{"room_version": room.Version.ID, "event": e}
			change(room, answer, e)
			peers.JSON(w, http.StatusOK, answer)
		})
	}
}

// inSendJoin lies in the answer to send_join.
func inSendJoin(change func(c *peers.Crafter, room *peers.Room, join *event.Event, answer map[string]any)) func(*peers.Crafter, *peers.Room) {
	return func(c *peers.Crafter, room *peers.Room) {
		c.Answer("send_join", func(w http.ResponseWriter, r *http.Request) {
			join, err := room.ReadJoin(r) // which the honest server never hears of
			if err != nil {
				peers.JSON(w, http.StatusBadRequest, map[string]string{"errcode": "M_BAD_JSON"})
				return
			}
			answer := room.JoinAnswer(c.Name, join)
			change(c, room, join, answer)
			peers.JSON(w, http.StatusOK, answer)
		})
	}
}

// withoutType leaves the events of a type out.
func withoutType(list any, typ string) []jsontext.Value {
	return slices.DeleteFunc(slices.Clone(list.([]jsontext.Value)), func(raw jsontext.Value) bool { return strings.Contains(string(raw), `"type":"`+typ+`"`) })
}

func endpoint(name string, h http.HandlerFunc) func(*peers.Crafter, *peers.Room) {
	return func(c *peers.Crafter, _ *peers.Room) { c.Answer(name, h) }
}

var badJoins = []badJoin{
	{name: "make_join never answers", lie: endpoint("make_join", hang)},
	{name: "make_join never ends", lie: endpoint("make_join", trickle)},
	{name: "make_join leads into a private network", lie: endpoint("make_join", redirect)},
	{name: "make_join is no JSON", lie: endpoint("make_join", text("<html>"))},
	{name: "make_join is nested 10,000 deep", lie: endpoint("make_join", text(`{"event":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`}`))},
	{name: "make_join is no event", lie: endpoint("make_join", text(`{"room_version":"11","event":[]}`))},
	{name: "make_join fails", lie: endpoint("make_join", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })},
	{name: "make_join refuses", lie: endpoint("make_join", func(w http.ResponseWriter, _ *http.Request) {
		peers.JSON(w, http.StatusForbidden, map[string]string{"errcode": "M_FORBIDDEN", "error": "no"})
	}), status: 403, code: "M_FORBIDDEN"},
	{name: "make_join names an unknown room version", lie: inMakeJoin(func(_ *peers.Room, answer, _ map[string]any) { answer["room_version"] = "99" }),
		status: 400, code: "M_INCOMPATIBLE_ROOM_VERSION"},
	{name: "make_join names another room version", lie: inMakeJoin(func(room *peers.Room, answer, _ map[string]any) {
		answer["room_version"] = map[bool]string{true: "9", false: "10"}[room.Version.ID == "10"]
	})},
	{name: "make_join is for another user", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) {
		e["state_key"], e["sender"] = "@mallory:example.org", "@mallory:example.org"
	})},
	{name: "make_join is no join", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) { e["content"] = J{"membership": "ban"} })},
	{name: "make_join is another event", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) { e["type"] = "m.room.power_levels" })},
	{name: "make_join is of another room", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) { e["room_id"] = "!other:example.org" })},
	{name: "make_join cites too much", lie: inMakeJoin(func(room *peers.Room, _, e map[string]any) {
		e["prev_events"] = room.Cited(slices.Repeat([]string{"$a"}, 21))
	})},
	{name: "make_join cites what are no ids", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) { e["auth_events"] = []int{1} })},
	{name: "make_join has no depth", lie: inMakeJoin(func(_ *peers.Room, _, e map[string]any) { e["depth"] = "deep" })},

	{name: "send_join never answers", lie: endpoint("send_join", hang)},
	{name: "send_join stops in the middle", lie: endpoint("send_join", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"state":[`))
		w.(http.Flusher).Flush()
		hang(w, r)
	})},
	{name: "send_join is cut off", lie: endpoint("send_join", text(`{"state":[{"type":`))},
	{name: "send_join is no JSON", lie: endpoint("send_join", text("state"))},
	{name: "send_join has a state that is none", lie: endpoint("send_join", text(`{"state":{},"auth_chain":[]}`))},
	{name: "send_join has garbage for events", lie: endpoint("send_join", text(`{"state":[1,"two",null,[],{}`+strings.Repeat(",{}", 20_000)+`],"auth_chain":[[[]]]}`))},
	{name: "send_join has a content nested 10,000 deep", lie: endpoint("send_join", text(`{"state":[{"content":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`}]}`))},
	{name: "send_join has an event that does not end", lie: endpoint("send_join", flood(`{"state":[{"content":{"body":"`, "x"))},
	{name: "send_join has a name that does not end", lie: endpoint("send_join", flood(`{"`, "x"))},
	{name: "send_join names servers without end", lie: endpoint("send_join", flood(`{"servers_in_room":["a"`, `,"example.org"`))},
	{name: "send_join gives another event", lie: inSendJoin(func(c *peers.Crafter, room *peers.Room, _ *event.Event, answer map[string]any) {
		answer["event"] = jsontext.Value(c.Make(room, room.Draft(c.User("mallory"), "m.room.message", `{}`)).JSON())
	})},
	{name: "send_join gives the event changed", lie: inSendJoin(func(c *peers.Crafter, _ *peers.Room, join *event.Event, answer map[string]any) {
		answer["event"] = jsontext.Value(strings.Replace(string(join.JSON()), `"membership":"join"`, `"membership":"ban"`, 1))
	})},
	{name: "send_join has no state", lie: inSendJoin(func(_ *peers.Crafter, _ *peers.Room, _ *event.Event, answer map[string]any) {
		answer["state"], answer["auth_chain"] = []int{}, []int{}
	})},
	{name: "send_join has no create event", lie: inSendJoin(func(_ *peers.Crafter, _ *peers.Room, _ *event.Event, answer map[string]any) {
		answer["state"], answer["auth_chain"] = withoutType(answer["state"], "m.room.create"), withoutType(answer["auth_chain"], "m.room.create")
	})},
	{name: "send_join has no join rules", lie: inSendJoin(func(_ *peers.Crafter, _ *peers.Room, _ *event.Event, answer map[string]any) {
		answer["state"] = withoutType(answer["state"], "m.room.join_rules")
	})},
	{name: "send_join has no members", lie: inSendJoin(func(_ *peers.Crafter, _ *peers.Room, _ *event.Event, answer map[string]any) {
		answer["state"], answer["auth_chain"] = withoutType(answer["state"], "m.room.member"), withoutType(answer["auth_chain"], "m.room.member")
	})},
	{name: "send_join has two events in one place", lie: inSendJoin(func(c *peers.Crafter, room *peers.Room, _ *event.Event, answer map[string]any) {
		other := c.Make(room, room.Draft(c.User("mallory"), "m.room.power_levels", `{"users":{}}`, ""))
		answer["state"] = append(answer["state"].([]jsontext.Value), other.JSON())
	})},
	{name: "send_join has a message in the state", lie: inSendJoin(func(c *peers.Crafter, room *peers.Room, _ *event.Event, answer map[string]any) {
		answer["state"] = append(answer["state"].([]jsontext.Value), c.Make(room, room.Draft(c.User("mallory"), "m.room.message", `{}`)).JSON())
	})},
	{name: "send_join has a state that nobody signed", lie: inSendJoin(func(_ *peers.Crafter, _ *peers.Room, _ *event.Event, answer map[string]any) {
		for _, list := range []string{"state", "auth_chain"} {
			var unsigned []jsontext.Value
			for _, raw := range answer[list].([]jsontext.Value) {
				i, j := strings.Index(string(raw), `"signatures":`), strings.Index(string(raw), `}},`)
				unsigned = append(unsigned, jsontext.Value(string(raw[:i])+`"signatures":{}`+string(raw[j+2:])))
			}
			answer[list] = unsigned
		}
	})},
	{name: "send_join has the state of another room", lie: inSendJoin(func(c *peers.Crafter, room *peers.Room, join *event.Event, answer map[string]any) {
		maps.Copy(answer, c.Room(c.User("mallory"), room.Version).JoinAnswer(c.Name, join))
		answer["event"] = jsontext.Value(join.JSON())
	})},
}

// TestHostileJoins: a server that lies about a room keeps nobody from joining it through another, and nothing of its lies is believed
// (server-server API, "Joining Rooms"; HARD_PLACES.md 28).
func TestHostileJoins(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for i, bad := range badJoins {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			v, _ := roomversion.Get([]string{"2", "10", "12"}[i%3])
			honest, liar := authority.Crafter(t), authority.Crafter(t)
			alice := newPerson(t, server, fmt.Sprint("alice", transactions.Add(1)))
			mallory := honest.User("mallory")
			room := honest.Room(mallory, v)
			honest.Share(room, liar)
			bad.lie(liar, room)
			if bad.status == 0 {
				bad.status, bad.code = http.StatusBadGateway, "M_UNKNOWN"
			}
			path := matrixclient.Path("join", room.ID) + "?via=" + liar.Name
			refusedWith(t, alice.Client, bad.status, bad.code, "POST", path, J{})
			if sync := alice.sync(0); sync.Get("rooms.join").Exists() {
				t.Errorf("the lie is believed: %s", sync)
			}
			alice.do("POST", path+"&via="+honest.Name, J{})
			s := &siege{t: t, server: server, alice: alice, mallory: mallory, c: honest, room: room}
			s.healthy()
		})
	}
}
