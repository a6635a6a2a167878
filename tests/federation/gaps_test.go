package federation

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// TestGapsAreFilledWhereTheyAreRead: what a room is missing is fetched for whoever reads across it: going back, going forward, around an event
// and what relates to one.
func TestGapsAreFilledWhereTheyAreRead(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	ids := func(events gjson.Result) (ids []string) {
		for _, e := range events.Array() {
			ids = append(ids, e.Get("event_id").Str)
		}
		return ids
	}
	for name, read := range map[string]func(s *siege, old *event.Event, hidden []*event.Event, last *event.Event){
		"back": func(s *siege, old *event.Event, hidden []*event.Event, last *event.Event) {
			page, err := s.alice.Messages(t.Context(), s.room.ID, "", "b", 20)
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(page.Get("chunk")); !slices.Contains(got, hidden[0].ID()) || !slices.Contains(got, hidden[9].ID()) || !slices.Contains(got, old.ID()) {
				t.Errorf("going back: %v", got)
			}
		},
		"forward": func(s *siege, old *event.Event, hidden []*event.Event, last *event.Event) {
			at := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "context", old.ID())+"?limit=0", nil).Get("end").Str
			var got []string
			for at != "" && !slices.Contains(got, last.ID()) {
				page, err := s.alice.Messages(t.Context(), s.room.ID, at, "f", 4)
				if err != nil {
					t.Fatal(err)
				}
				got, at = append(got, ids(page.Get("chunk"))...), page.Get("end").Str
			}
			want := append(idsOf(hidden), last.ID())
			if !slices.Equal(got, want) {
				t.Errorf("going forward:\n%v not\n%v", got, want)
			}
		},
		"around": func(s *siege, _ *event.Event, hidden []*event.Event, last *event.Event) {
			got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "context", last.ID())+"?limit=10", nil)
			if before := ids(got.Get("events_before")); len(before) != 5 || before[0] != hidden[9].ID() || before[4] != hidden[5].ID() {
				t.Errorf("around: %v", before)
			}
		},
		"around what is before it": func(s *siege, old *event.Event, hidden []*event.Event, _ *event.Event) {
			got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "context", old.ID())+"?limit=10", nil)
			if after := ids(got.Get("events_after")); len(after) != 5 || after[0] != hidden[0].ID() || after[4] != hidden[4].ID() {
				t.Errorf("around: %v", after)
			}
		},
		"relations": func(s *siege, old *event.Event, hidden []*event.Event, _ *event.Event) {
			got := newer(t, s.alice.Client, matrixclient.Path("rooms", s.room.ID, "relations", old.ID()))
			if children := ids(got.Get("chunk")); !slices.Equal(children, []string{hidden[3].ID()}) {
				t.Errorf("relations: %v", children)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := authority.Crafter(t)
			s := &siege{t: t, server: server, alice: newPerson(t, server, fmt.Sprint("alice", transactions.Add(1))), mallory: c.User("mallory"), c: c}
			s.room = c.Room(s.mallory, versionOf(t, "11"))
			s.alice.joinVia(s.room.ID, c.Name)
			old := c.Put(s.room, s.message())
			s.send(old.JSON())
			s.alice.has(s.room.ID, old.ID())
			answers("get_missing_events", func(*siege, *event.Event) any { return J{"events": []int{}} })(s, nil)
			var hidden []*event.Event
			for i := range 10 {
				p := s.message()
				if i == 3 {
					p = s.room.Draft(s.mallory, "m.reaction", `{"m.relates_to":{"rel_type":"m.annotation","event_id":"`+old.ID()+`","key":"x"}}`)
				}
				hidden = append(hidden, c.Put(s.room, p))
			}
			last := c.Put(s.room, s.message())
			s.send(last.JSON())
			s.alice.has(s.room.ID, last.ID())
			if s.readable(hidden[0].ID()) {
				t.Fatal("there is no gap")
			}
			read(s, old, hidden, last)
			s.healthy()
		})
	}
}

func idsOf(events []*event.Event) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID())
	}
	return ids
}
