package federation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// badAnswer is how a server answers that sent an event whose past it withholds.
type badAnswer struct {
	name string
	// asked is an endpoint that is asked for what is missing.
	asked string
	// lie sets the answers. e is the event that was sent.
	lie func(s *siege, e *event.Event)
}

// answers has an endpoint answer with JSON.
func answers(endpoint string, body func(s *siege, e *event.Event) any) func(*siege, *event.Event) {
	return func(s *siege, e *event.Event) {
		answer := body(s, e)
		s.c.Answer(endpoint, func(w http.ResponseWriter, _ *http.Request) { peers.JSON(w, http.StatusOK, answer) })
	}
}

// stateIDs tells this state before the event, and gives each of the events that are asked for.
func stateIDs(ids func(s *siege, e *event.Event) []string) func(*siege, *event.Event) {
	return answers("state_ids", func(s *siege, e *event.Event) any { return J{"pdu_ids": ids(s, e), "auth_chain_ids": []string{}} })
}

// stateNow are the ids of the room's state but for those of a type.
func stateNow(s *siege, but string) []string {
	var ids []string
	for place, id := range s.room.State() {
		if place.Type != but {
			ids = append(ids, id)
		}
	}
	return ids
}

// crafted is a state event of mallory's that the room would not allow, known to the crafter only.
func crafted(s *siege, typ, content, stateKey string, auths ...string) string {
	p := s.room.Draft(s.mallory, typ, content, stateKey)
	if len(auths) > 0 {
		p.AuthEvents = auths
	}
	e := s.c.Make(s.room, p)
	s.room.Know(e)
	return e.ID()
}

var badAnswers = []badAnswer{
	{name: "missing events never come", asked: "get_missing_events", lie: func(s *siege, _ *event.Event) { s.c.Answer("get_missing_events", hang) }},
	{name: "missing events never end", asked: "get_missing_events", lie: func(s *siege, _ *event.Event) { s.c.Answer("get_missing_events", trickle) }},
	{name: "missing events are no JSON", asked: "get_missing_events", lie: func(s *siege, _ *event.Event) { s.c.Answer("get_missing_events", text("<html>")) }},
	{name: "missing events are no list", asked: "get_missing_events", lie: answers("get_missing_events", func(*siege, *event.Event) any { return J{"events": J{}} })},
	{name: "missing events are garbage", asked: "get_missing_events", lie: answers("get_missing_events", func(*siege, *event.Event) any {
		return J{"events": []any{1, "two", nil, []int{}, J{}, J{"type": "m.room.message"}}}
	})},
	{name: "missing events are of another room", asked: "get_missing_events", lie: answers("get_missing_events", func(s *siege, _ *event.Event) any {
		return J{"events": peers.PDUs(s.c.Room(s.mallory, s.room.Version).Last())}
	})},
	{name: "missing events are forged", asked: "get_missing_events", lie: answers("get_missing_events", func(s *siege, _ *event.Event) any {
		return J{"events": peers.PDUs(s.c.Make(s.room, s.room.Draft(s.alice.UserID, "m.room.topic", `{"topic":"forged"}`, "")))}
	})},
	{name: "missing events are the event itself", asked: "get_missing_events", lie: answers("get_missing_events", func(_ *siege, e *event.Event) any { return J{"events": peers.PDUs(e, e, e)} })},
	{name: "missing events are ten thousand", asked: "get_missing_events", lie: answers("get_missing_events", func(s *siege, _ *event.Event) any {
		return J{"events": slices.Repeat(peers.PDUs(s.c.Make(s.room, s.message())), 10_000)}
	})},
	{name: "the gap has no end", asked: "get_missing_events", lie: func(s *siege, _ *event.Event) {
		s.c.Answer("get_missing_events", func(w http.ResponseWriter, _ *http.Request) {
			// Whatever is asked for has a predecessor that nobody knows.
			p := s.message()
			p.PrevEvents = []string{fmt.Sprint("$further", transactions.Add(1))}
			peers.JSON(w, http.StatusOK, map[string]any{"events": peers.PDUs(s.c.Make(s.room, p))})
		})
	}},

	{name: "the state never comes", asked: "state_ids", lie: func(s *siege, _ *event.Event) { s.c.Answer("state_ids", hang) }},
	{name: "the state is no JSON", asked: "state_ids", lie: func(s *siege, _ *event.Event) { s.c.Answer("state_ids", text("[")) }},
	{name: "the state is empty", asked: "state_ids", lie: stateIDs(func(*siege, *event.Event) []string { return []string{} })},
	{name: "the state is nothing that anybody has", asked: "event", lie: stateIDs(func(*siege, *event.Event) []string { return []string{"$a", "$b", ""} })},
	{name: "the state is a message", asked: "state_ids", lie: stateIDs(func(s *siege, e *event.Event) []string { return []string{e.ID()} })},
	{name: "the state's events never come", asked: "event", lie: func(s *siege, e *event.Event) {
		s.c.Answer("event", hang)
		stateIDs(func(s *siege, _ *event.Event) []string { return append(stateNow(s, ""), "$a") })(s, e)
	}},
	{name: "the state's events are others", asked: "event", lie: func(s *siege, e *event.Event) {
		answers("event", func(s *siege, e *event.Event) any { return J{"pdus": peers.PDUs(e)} })(s, e)
		stateIDs(func(s *siege, _ *event.Event) []string { return append(stateNow(s, ""), "$a") })(s, e)
	}},
	{name: "the state lacks the power levels", asked: "state_ids", lie: stateIDs(func(s *siege, _ *event.Event) []string { return stateNow(s, "m.room.power_levels") })},
	{name: "the state lacks the create event", asked: "state_ids", lie: stateIDs(func(s *siege, _ *event.Event) []string { return stateNow(s, "m.room.create") })},
	{name: "the state lacks all members", asked: "state_ids", lie: stateIDs(func(s *siege, _ *event.Event) []string { return stateNow(s, "m.room.member") })},
	{name: "the state has power levels that were not allowed", asked: "event", lie: stateIDs(func(s *siege, _ *event.Event) []string {
		return append(stateNow(s, "m.room.power_levels"), crafted(s, "m.room.power_levels", `{"users":{"`+s.mallory+`":100}}`, ""))
	})},
	{name: "the state has power levels that cite none", asked: "event", lie: stateIDs(func(s *siege, _ *event.Event) []string {
		state := s.room.State()
		auths := []string{state[event.Tuple{Type: "m.room.member", StateKey: s.mallory}]}
		if !s.room.Version.RoomIDFromCreate {
			auths = append(auths, state[event.Tuple{Type: "m.room.create"}])
		}
		return append(stateNow(s, "m.room.power_levels"), crafted(s, "m.room.power_levels", `{"users":{"`+s.mallory+`":100}}`, "", auths...))
	})},
	{name: "the state has alice banned", asked: "event", lie: stateIDs(func(s *siege, _ *event.Event) []string {
		return append(stateNow(s, ""), crafted(s, "m.room.member", `{"membership":"ban"}`, s.alice.UserID))
	})},
	{name: "the state contradicts itself", asked: "event", lie: stateIDs(func(s *siege, _ *event.Event) []string {
		return append(append(stateNow(s, ""), stateNow(s, "")...), crafted(s, "m.room.topic", `{"topic":"a"}`, ""), crafted(s, "m.room.topic", `{"topic":"b"}`, ""))
	})},
	{name: "state and state_ids contradict each other", asked: "state", lie: func(s *siege, e *event.Event) {
		stateIDs(func(s *siege, _ *event.Event) []string {
			var ids []string
			for i := range 150 { // too many to be fetched singly
				ids = append(ids, fmt.Sprint("$never", i))
			}
			return append(ids, stateNow(s, "")...)
		})(s, e)
		answers("state", func(s *siege, _ *event.Event) any {
			topic := s.room.Event(crafted(s, "m.room.topic", `{"topic":"contradicts"}`, ""))
			return J{"pdus": append(peers.PDUs(topic), jsontext.Value(`{}`), jsontext.Value(`7`)), "auth_chain": []int{}}
		})(s, e)
	}},
	{name: "the state is endless", asked: "state", lie: func(s *siege, e *event.Event) {
		stateIDs(func(*siege, *event.Event) []string {
			var ids []string
			for i := range 150 {
				ids = append(ids, fmt.Sprint("$never", i))
			}
			return ids
		})(s, e)
		s.c.Answer("state", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"pdus":[`))
			w.(http.Flusher).Flush()
			hang(w, r)
		})
	}},
}

// TestHostileGaps: an event comes whose past its server withholds, or lies about. The room goes on with the state that it has (server-server API,
// "Backfilling and retrieving missing events"; HARD_PLACES.md 21 and 22).
func TestHostileGaps(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for i, bad := range badAnswers {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, authority, server, []string{"2", "10", "12"}[i%3])
			p := s.message()
			p.PrevEvents = append(p.PrevEvents, "$withheld")
			e := s.c.Make(s.room, p)
			s.room.Know(e)
			bad.lie(s, e)
			if fate, told := s.send(e.JSON())[e.ID()]; fate != "" || !told {
				t.Errorf("its fate is %q", fate)
			}
			s.c.WaitAsked(bad.asked, 1)
			s.healthy()
			if n := s.c.Asked("get_missing_events"); n > 20 {
				t.Errorf("missing events were asked for %d times", n)
			}
		})
	}
}

// TestHostileGapUndoesNoBan: a server whose user is banned withholds an event, and tells the state before it as it was before the ban.
func TestHostileGapUndoesNoBan(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"2", "12"} {
		s := besiege(t, authority, server, v)
		trent := s.c.User("trent")
		join := s.c.Put(s.room, s.room.Draft(trent, "m.room.member", `{"membership":"join"}`, trent))
		s.send(join.JSON())
		s.alice.seesMember(s.room.ID, trent, "join")
		before := stateNow(s, "")
		ban, err := s.alice.SetState(t.Context(), s.room.ID, "m.room.member", trent, J{"membership": "ban"})
		if err != nil {
			t.Fatal(err)
		}
		s.c.Got(ban)
		p := s.message()
		p.PrevEvents = append(p.PrevEvents, "$withheld")
		e := s.c.Make(s.room, p)
		stateIDs(func(*siege, *event.Event) []string { return before })(s, e)
		s.send(e.JSON())
		s.alice.has(s.room.ID, e.ID())
		s.c.Answer("state_ids", nil)
		got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "state", "m.room.member", trent), nil)
		if got.Get("membership").Str != "ban" {
			t.Errorf("version %s: trent is %s again", v, got.Get("membership").Str)
		}
		s.healthy()
	}
}

// TestHostileBackfill: what a server gives to those who scroll back, and what they see then.
func TestHostileBackfill(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for name, lie := range map[string]func(s *siege){
		"never comes": func(s *siege) { s.c.Answer("backfill", hang) },
		"is no JSON":  func(s *siege) { s.c.Answer("backfill", text("<html>")) },
		"is garbage":  func(s *siege) { s.c.Answer("backfill", text(`{"pdus":[1,{},[],"x",null]}`)) },
		"of another room": func(s *siege) {
			answers("backfill", func(s *siege, _ *event.Event) any {
				return J{"pdus": peers.PDUs(s.c.Room(s.mallory, s.room.Version).Last())}
			})(s, nil)
		},
		"is forged": func(s *siege) {
			answers("backfill", func(s *siege, _ *event.Event) any {
				return J{"pdus": peers.PDUs(s.c.Make(s.room, s.room.Draft(s.alice.UserID, "m.room.message", `{"body":"forged"}`)))}
			})(s, nil)
		},
		"was not asked for": func(s *siege) {
			answers("backfill", func(s *siege, _ *event.Event) any { return J{"pdus": peers.PDUs(s.c.Make(s.room, s.message()))} })(s, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := authority.Crafter(t)
			mallory := c.User("mallory")
			v := versionOf(t, "11")
			s := &siege{t: t, server: server, alice: newPerson(t, server, fmt.Sprint("alice", transactions.Add(1))), mallory: mallory, c: c, room: c.Room(mallory, v)}
			for range 5 {
				c.Put(s.room, s.message())
			}
			s.alice.joinVia(s.room.ID, c.Name)
			lie(s)
			page, err := s.alice.Messages(t.Context(), s.room.ID, "", "b", 50)
			if err != nil {
				t.Fatal(err)
			}
			if raw, _ := json.Marshal(page.Get("chunk").Value()); strings.Contains(string(raw), "forged") || len(page.Get("chunk").Array()) == 0 {
				t.Errorf("alice reads %s", raw)
			}
			c.Answer("backfill", nil)
			s.healthy()
		})
	}
}
