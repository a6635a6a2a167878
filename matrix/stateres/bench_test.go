package stateres_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/stateres"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
)

// fork is a room with a chain of power levels, each citing the one before, that forks at the end: one side has gone on for
// tail power levels, the other has set a topic; and with members of whom both know.
func fork(tb testing.TB, v *roomversion.Version, chain, tail, members int) (*history, []naive.State) {
	tb.Helper()
	w := &world{history: newHistory(tb, v)}
	w.begin()
	state := maps.Clone(w.after[w.ids[len(w.ids)-1]])
	put := func(id, sender, typ, stateKey, content string, cites []string) {
		d := draft{id: id, sender: sender, typ: typ, stateKey: &stateKey, content: content, prev: []string{"$create"}, auth: cites, ts: int64(len(w.events))}
		e := w.build(d)
		w.events[id] = e
		state[e.Tuple()] = id
	}
	cites := func(sender string) []string {
		list := []string{state[powerTuple], state[event.Tuple{Type: "m.room.member", StateKey: sender}]}
		if !v.RoomIDFromCreate {
			list = append(list, "$create")
		}
		return list
	}
	for i := range members {
		userID := fmt.Sprintf("@member%d:c", i)
		put("$m"+userID, userID, "m.room.member", userID, `{"membership":"join"}`, append(cites("@u2:b")[:1], "$4"))
	}
	power := func(i int) {
		content := fmt.Sprintf(`{"n":%d,"users":{"@u2:b":100,"@u3:b":50},"users_default":0}`, i)
		put(fmt.Sprintf("$p%d", i), "@u2:b", "m.room.power_levels", "", content, cites("@u2:b"))
	}
	for i := range chain {
		power(i)
	}
	left := maps.Clone(state)
	put("$topic", "@u3:b", "m.room.topic", "", `{}`, cites("@u3:b"))
	right := maps.Clone(state)
	state = left
	for i := range tail {
		power(chain + i)
	}
	return w.history, []naive.State{state, right}
}

// TestLongChains resolves a room whose auth chain is far deeper than a stack of calls should be.
// HARD_PLACES.md 18: auth chains of 100,000 events.
func TestLongChains(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "12"} {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			v, _ := roomversion.Get(version)
			h, states := fork(t, v, 5_000, 5_000, 0)
			got, err := stateres.Resolve(v, states, h, stateres.NewChains(h))
			if err != nil {
				t.Fatal(err)
			}
			if got[powerTuple] != "$p9999" || got[event.Tuple{Type: "m.room.topic"}] != "$topic" {
				t.Fatalf("got %s and %s", got[powerTuple], got[event.Tuple{Type: "m.room.topic"}])
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, bench := range []struct {
		name                 string
		version              string
		chain, tail, members int
	}{
		{"v2, small room", "2", 10, 1, 20},
		{"v12, small room", "12", 10, 1, 20},
		{"v12, 100000 members", "12", 10, 1, 100_000},
		{"v2, chain of 100000, of which 10 in conflict", "2", 99_990, 10, 0},
		{"v12, chain of 100000, of which 10 in conflict", "12", 99_990, 10, 0},
		{"v2, chain of 100000 in conflict", "2", 0, 100_000, 0},
		{"v12, chain of 100000 in conflict", "12", 0, 100_000, 0},
	} {
		b.Run(bench.name, func(b *testing.B) {
			v, _ := roomversion.Get(bench.version)
			h, states := fork(b, v, bench.chain, bench.tail, bench.members)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stateres.Resolve(v, states, h, stateres.NewChains(h)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
