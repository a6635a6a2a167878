package client_test

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// listener is a device that syncs now and then, with whatever limit, and pages back through every gap.
type listener struct {
	*clienttest.User
	since string
	heard map[string][]string // event ids, by room
}

// sync takes in what has happened. The same token must give the same timelines again.
func (l *listener) sync(t *rapid.T, limit int, again bool) {
	q := url.Values{"filter": {fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, limit)}}
	if l.since != "" {
		q.Set("since", l.since)
	}
	answer := l.Get("/sync?" + q.Encode()).OK()
	if again {
		second := l.Get("/sync?" + q.Encode()).OK()
		for _, path := range []string{"rooms.join.@values.#.timeline.events.#.event_id", "rooms.leave.@values.#.timeline.events.#.event_id"} {
			if a, b := answer.At(path).Raw, second.At(path).Raw; a != b {
				t.Fatalf("%s asked twice from %s: %s and %s", l.ID, l.since, a, b)
			}
		}
	}
	for _, section := range []string{"rooms.join", "rooms.leave"} {
		for roomID, room := range answer.At(section).Map() {
			l.take(t, roomID, room.Get("timeline"))
		}
	}
	l.since = answer.Text("next_batch")
}

// take adds a timeline. One that is limited begins anew, after a return to the room for example, and may begin with what is known.
func (l *listener) take(t *rapid.T, roomID string, timeline gjson.Result) {
	known := l.heard[roomID]
	limited := timeline.Get("limited").Bool()
	if limited {
		var missed []string
		from := timeline.Get("prev_batch").Str
	paging:
		for from != "" {
			page := l.Get(clienttest.Room(roomID, "messages") + "?dir=b&limit=3&from=" + url.QueryEscape(from)).OK()
			for _, e := range page.At("chunk").Array() {
				if slices.Contains(known, e.Get("event_id").Str) {
					break paging
				}
				missed = append(missed, e.Get("event_id").Str)
			}
			from = page.At("end").Str
		}
		slices.Reverse(missed)
		known = append(known, missed...)
	}
	for _, e := range timeline.Get("events").Array() {
		id := e.Get("event_id").Str
		if slices.Contains(known, id) {
			if limited {
				continue
			}
			t.Fatalf("%s hears %s %s in %s twice", l.ID, e.Get("type").Str, id, roomID)
		}
		known = append(known, id)
	}
	l.heard[roomID] = known
}

// Whatever happens and whenever somebody syncs: with gaps paged through, everybody hears everything from the time they came, once
// and in order, and nothing of the time when they were away from a room whose history is for its members.
func TestNoGapLosesAnEvent(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		var people []*listener
		for i := range 3 {
			people = append(people, &listener{User: w.Register("p" + strconv.Itoa(run) + "x" + strconv.Itoa(i)), heard: map[string][]string{}})
		}
		owner := people[0]
		var rooms []string
		for i := range 2 {
			visibility := []string{"shared", "joined"}[i]
			rooms = append(rooms, owner.CreateRoom(J{"preset": "public_chat", "initial_state": []J{
				{"type": "m.room.history_visibility", "content": J{"history_visibility": visibility}}}}))
		}
		in := map[string]bool{}
		key := func(p int, room string) string { return strconv.Itoa(p) + room }
		for _, roomID := range rooms {
			in[key(0, roomID)] = true
		}
		someRoom, somebody := rapid.SampledFrom(rooms), rapid.IntRange(0, 2)
		n := 0
		say := func(t *rapid.T) {
			p, roomID := somebody.Draw(t, "who"), someRoom.Draw(t, "where")
			if !in[key(p, roomID)] {
				t.Skip("not in the room")
			}
			n++
			people[p].Say(roomID, strconv.Itoa(n))
		}
		t.Repeat(map[string]func(*rapid.T){
			"say":   say,
			"again": say,
			"state": func(t *rapid.T) {
				n++
				owner.SetState(someRoom.Draw(t, "where"), "m.room.topic", "", J{"topic": strconv.Itoa(n)})
			},
			"join": func(t *rapid.T) {
				p, roomID := rapid.IntRange(1, 2).Draw(t, "who"), someRoom.Draw(t, "where")
				people[p].Join(roomID)
				in[key(p, roomID)] = true
			},
			"leave": func(t *rapid.T) {
				p, roomID := rapid.IntRange(1, 2).Draw(t, "who"), someRoom.Draw(t, "where")
				if !in[key(p, roomID)] {
					t.Skip("not in the room")
				}
				people[p].Leave(roomID)
				in[key(p, roomID)] = false
			},
			"sync": func(t *rapid.T) {
				people[somebody.Draw(t, "who")].sync(t, rapid.IntRange(1, 4).Draw(t, "limit"), rapid.Bool().Draw(t, "twice"))
			},
		})
		for _, p := range people {
			p.sync(t, 2, false)
		}
		for _, roomID := range rooms {
			var all []gjson.Result
			for from := ""; ; {
				path := clienttest.Room(roomID, "messages") + "?dir=b&limit=100"
				if from != "" {
					path += "&from=" + url.QueryEscape(from)
				}
				page := owner.Get(path).OK()
				all = append(all, page.At("chunk").Array()...)
				if from = page.At("end").Str; from == "" {
					break
				}
			}
			slices.Reverse(all)
			for i, p := range people {
				if in[key(i, roomID)] {
					check(t, p, roomID, all)
				}
			}
		}
	})
}

// check wants somebody who is in the room to have heard all of it since the last time they came, in its order.
func check(t *rapid.T, p *listener, roomID string, all []gjson.Result) {
	came, order := 0, map[string]int{}
	for i, e := range all {
		order[e.Get("event_id").Str] = i
		if e.Get("type").Str == "m.room.member" && e.Get("state_key").Str == p.ID && e.Get("content.membership").Str == "join" {
			came = i
		}
	}
	last, heard := -1, map[string]bool{}
	for _, id := range p.heard[roomID] {
		at, there := order[id]
		if !there || at <= last {
			t.Fatalf("%s heard %s at %d after the event at %d", p.ID, id, at, last)
		}
		last, heard[id] = at, true
	}
	for _, e := range all[came:] {
		if !heard[e.Get("event_id").Str] {
			t.Fatalf("%s did not hear %s in %s", p.ID, e.Raw, roomID)
		}
	}
}
