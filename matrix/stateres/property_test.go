package stateres_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/stateres"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
)

// TestResolveLikeTheOracle makes random rooms with forks, and resolves sets of their states, honest and faulty: the result is what
// the oracle says, whatever the order of the states.
// HARD_PLACES.md 16: any history, resolved as the specification's prose has it.
func TestResolveLikeTheOracle(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		t.Run("v"+v.ID, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				w := &world{history: newHistory(rt, v), rt: rt}
				w.begin()
				for range rapid.IntRange(5, 30).Draw(rt, "events") {
					w.step()
				}
				for _, id := range w.ids {
					if rapid.IntRange(0, 40).Draw(rt, "rejected") == 0 {
						w.rejected[id] = true
					}
				}
				states := w.drawStates()
				requireAgreement(rt, w.history, states)
				requireSameChains(rt, w.history, states)
			})
		})
	}
}

// requireSameChains compares what the walk finds with the oracle. The first state stands for what all agree on, too.
func requireSameChains(t rapid.TB, h *history, states []naive.State) {
	t.Helper()
	chains := stateres.NewChains(h)
	shared := states[0]
	var whole []naive.State
	var rest [][]string
	conflicted := map[string]bool{}
	for _, s := range states[1:] {
		both := maps.Clone(s)
		for k, id := range shared {
			both[event.Tuple{Type: "shared " + k.Type, StateKey: k.StateKey}] = id
		}
		whole = append(whole, both)
		rest = append(rest, slices.Collect(maps.Values(s)))
	}
	difference, err := chains.AuthDifference(maps.Values(shared), rest)
	if err != nil {
		t.Fatal(err)
	}
	requireSameIDs(t, "auth difference", naive.AuthDifference(h.v, whole, h), difference)
	for k, id := range states[0] {
		for _, s := range states[1:] {
			if s[k] != id {
				conflicted[id], conflicted[s[k]] = true, true
			}
		}
	}
	delete(conflicted, "")
	subgraph, err := chains.Subgraph(slices.Collect(maps.Keys(conflicted)))
	if err != nil {
		t.Fatal(err)
	}
	requireSameIDs(t, "subgraph", naive.Subgraph(conflicted, h), subgraph)
}

func requireSameIDs(t rapid.TB, what string, want map[string]bool, got []string) {
	t.Helper()
	sorted := slices.Sorted(maps.Keys(want))
	slices.Sort(got)
	if !slices.Equal(sorted, got) {
		t.Fatalf("the %s is %v, and by the oracle %v", what, got, sorted)
	}
}

var (
	empty       = ""
	everybody   = []string{"@creator:test", "@u1:a", "@u2:b", "@u3:b", "@u4:c"}
	powerTuple  = event.Tuple{Type: "m.room.power_levels"}
	memberships = []string{"join", "join", "join", "leave", "leave", "ban", "invite"}
)

// world plays a random room.
type world struct {
	*history
	rt *rapid.T
	n  int
}

func (w *world) pick(from []string, label string) string {
	return rapid.SampledFrom(from).Draw(w.rt, label)
}

func (w *world) begin() {
	create := draft{id: "$create", sender: everybody[0], typ: "m.room.create", stateKey: &empty, content: `{"additional_creators":["@u1:a"],"creator":"@creator:test"}`}
	if err := w.add(create); err != nil {
		w.tb.Fatal(err)
	}
	w.on("$create", everybody[0], "m.room.member", everybody[0], `{"membership":"join"}`)
	w.then(everybody[0], "m.room.join_rules", "", `{"join_rule":"public"}`)
	w.then(everybody[0], "m.room.power_levels", "", `{"users":{"@u2:b":100,"@u3:b":50},"users_default":0}`)
	for _, userID := range everybody[1:4] {
		w.then(userID, "m.room.member", userID, `{"membership":"join"}`)
	}
}

func (w *world) on(prev, sender, typ, stateKey, content string) {
	w.n++
	err := w.add(draft{id: "$" + strconv.Itoa(w.n), sender: sender, typ: typ, stateKey: &stateKey, content: content, prev: []string{prev}, ts: int64(w.n)})
	if err != nil {
		w.tb.Fatalf("room version %s: %v", w.v.ID, err)
	}
}

func (w *world) then(sender, typ, stateKey, content string) {
	w.on(w.ids[len(w.ids)-1], sender, typ, stateKey, content)
}

// step adds one event of anybody's on top of one to three others. What the rules forbid stays without effect.
func (w *world) step() {
	d := draft{ts: rapid.Int64Range(0, 30).Draw(w.rt, "ts"), sender: w.pick(everybody, "sender")}
	w.n++
	d.id = "$" + w.pick([]string{"a", "b", "c", "d"}, "id") + strconv.Itoa(w.n)
	recent := w.ids[max(0, len(w.ids)-rapid.IntRange(1, 8).Draw(w.rt, "recent")):]
	for range rapid.IntRange(1, 3).Draw(w.rt, "prev") {
		if id := w.pick(recent, "prev event"); !slices.Contains(d.prev, id) {
			d.prev = append(d.prev, id)
		}
	}
	d.stateKey = &empty
	switch d.typ = w.pick([]string{"m.room.topic", "m.room.name", "m.room.power_levels", "m.room.power_levels", "m.room.join_rules", "m.room.member", "m.room.member", "m.room.member"}, "type"); d.typ {
	case "m.room.power_levels":
		d.content = w.powerLevels(d.prev)
	case "m.room.join_rules":
		d.content = fmt.Sprintf(`{"join_rule":%q,"n":%d}`, w.pick([]string{"public", "invite", "knock"}, "rule"), w.n)
	case "m.room.member":
		target := d.sender
		if rapid.Bool().Draw(w.rt, "somebody else") {
			target = w.pick(everybody, "target")
		}
		d.stateKey, d.content = &target, fmt.Sprintf(`{"membership":%q,"n":%d}`, w.pick(memberships, "membership"), w.n)
	default:
		d.content = fmt.Sprintf(`{"n":%d}`, w.n)
	}
	if states := w.statesAfter(d.prev); len(states) > 1 {
		requireAgreement(w.tb, w.history, states)
	}
	if w.add(d) != nil {
		delete(w.after, d.id)
		delete(w.events, d.id)
		w.ids = w.ids[:len(w.ids)-1]
	}
}

func (w *world) statesAfter(ids []string) []naive.State {
	states := make([]naive.State, len(ids))
	for i, id := range ids {
		states[i] = w.after[id]
	}
	return states
}

// powerLevels changes the power of one user, or a default, in the power levels before the event.
func (w *world) powerLevels(prev []string) string {
	content := struct {
		Users        map[string]int64 `json:"users"`
		UsersDefault int64            `json:"users_default"`
		N            int              `json:"n"`
	}{N: w.n}
	if e := w.events[w.before(prev)[powerTuple]]; e != nil {
		if err := json.Unmarshal(e.Content(), &content); err != nil {
			w.tb.Fatal(err)
		}
	}
	content.N = w.n
	level := rapid.SampledFrom([]int64{0, 10, 50, 100}).Draw(w.rt, "level")
	if rapid.IntRange(0, 5).Draw(w.rt, "default") == 0 {
		content.UsersDefault = level / 2
	} else if content.Users != nil {
		content.Users[w.pick(everybody[2:], "promoted")] = level
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(raw)
}

// drawStates gives states of the history, some with what a faulty server would claim: older events, or less.
func (w *world) drawStates() []naive.State {
	states := make([]naive.State, rapid.IntRange(2, 4).Draw(w.rt, "states"))
	for i := range states {
		state := maps.Clone(w.after[w.pick(w.ids, "state")])
		for range rapid.IntRange(0, 2).Draw(w.rt, "faults") {
			e := w.events[w.pick(w.ids, "fault")]
			if rapid.IntRange(0, 3).Draw(w.rt, "lost") == 0 {
				delete(state, e.Tuple())
			} else {
				state[e.Tuple()] = e.ID()
			}
		}
		states[i] = state
	}
	return states
}

func TestNothingToResolve(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		w := &world{history: newHistory(t, v)}
		w.begin()
		state := w.after[w.ids[len(w.ids)-1]]
		for _, states := range [][]naive.State{{}, {{}}, {{}, {}}, {state}, {state, state}} {
			want := naive.State{}
			if len(states) > 0 {
				want = states[0]
			}
			got, err := stateres.Resolve(v, states, w, stateres.NewChains(w))
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("room version %s: got %v, %v", v.ID, got, err)
			}
		}
	}
}

// TestMissingEvents takes one event away: the resolution says which, or did not need it.
func TestMissingEvents(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		w := &world{history: newHistory(t, v)}
		w.begin()
		base := w.ids[len(w.ids)-1]
		w.on(base, "@u2:b", "m.room.topic", "", `{}`)
		w.on(base, "@u3:b", "m.room.topic", "", `{}`)
		states := w.statesAfter(w.ids[len(w.ids)-2:])
		missed := 0
		for _, id := range w.ids {
			e := w.events[id]
			delete(w.events, id)
			_, err := stateres.Resolve(v, states, w, stateres.NewChains(w))
			var missing *stateres.MissingError
			switch {
			case errors.As(err, &missing) && missing.EventID == id:
				missed++
			case err != nil:
				t.Errorf("room version %s without %s: %v", v.ID, id, err)
			}
			w.events[id] = e
		}
		if missed < 4 {
			t.Errorf("room version %s: only %d events were missed", v.ID, missed)
		}
	}
}

// TestCirclesEnd gives events whose ids were chosen so that they cite each other, which room versions 1 and 2 make possible.
func TestCirclesEnd(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		v, _ := roomversion.Get(version)
		w := &world{history: newHistory(t, v)}
		w.begin()
		base := w.ids[len(w.ids)-1]
		state := w.after[base]
		cite := func(id, typ, key string, cites ...string) naive.State {
			d := draft{id: id, sender: "@creator:test", typ: typ, stateKey: &key, content: `{"membership":"ban"}`, prev: []string{base}}
			d.auth = append([]string{"$create", "$1"}, cites...)
			w.events[id] = w.build(d)
			after := maps.Clone(state)
			after[w.events[id].Tuple()] = id
			return after
		}
		states := []naive.State{
			cite("$x", "m.room.power_levels", "", "$y"), cite("$y", "m.room.power_levels", "", "$z"), cite("$z", "m.room.power_levels", "", "$x"),
			cite("$self", "m.room.member", "@u4:c", "$self", "$x"), cite("$topic", "m.room.topic", "", "$x"), state,
		}
		agreed := []naive.State{maps.Clone(states[0]), maps.Clone(states[4])}
		agreed[1][powerTuple] = "$x" // the mainline is the circle
		for _, conflict := range [][]naive.State{states, agreed} {
			if _, err := stateres.Resolve(v, conflict, w, stateres.NewChains(w)); err != nil {
				t.Errorf("room version %s: %v", version, err)
			}
		}
	}
}
