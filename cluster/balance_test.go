package cluster

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	b := Balance{Tolerance: 0.25, Least: 0.05, Moves: 3}
	even := []NodeLoad{{"a", 1, 0.5}, {"b", 1, 0.5}}
	tilted := []NodeLoad{{"a", 1, 1}, {"b", 1, 0.2}}
	actors := []ActorLoad{{roomID(1), "a", 0.4, false}, {roomID(2), "a", 0.6, false}, {roomID(3), "b", 0.2, false}}
	for _, c := range []struct {
		name   string
		nodes  []NodeLoad
		actors []ActorLoad
		want   string
	}{
		{"even", even, actors, "[]"},
		{"tilted: what evens out best goes", tilted, actors, "[!1 a b]"},
		{"pinned actors stay", tilted, []ActorLoad{{roomID(1), "a", 0.4, true}, {roomID(2), "a", 0.3, false}}, "[!2 a b]"},
		{"one actor that is all of the load stays", []NodeLoad{{"a", 1, 1}, {"b", 1, 0}}, []ActorLoad{{roomID(1), "a", 1, false}}, "[]"},
		{"what hardly matters stays", []NodeLoad{{"a", 1, 1}, {"b", 1, 0}}, []ActorLoad{{roomID(1), "a", 0.99, true}, {roomID(2), "a", 0.002, false}}, "[]"},
		{"little is moved when it is something", []NodeLoad{{"a", 1, 1}, {"b", 1, 0}}, []ActorLoad{{roomID(1), "a", 0.99, true}, {roomID(2), "a", 0.01, false}}, "[!2 a b]"},
		{"hardly any load", []NodeLoad{{"a", 1, 0.04}, {"b", 1, 0}}, []ActorLoad{{roomID(1), "a", 0.02, false}}, "[]"},
		{"weights count", []NodeLoad{{"a", 4, 1}, {"b", 1, 0.25}}, actors, "[]"},
		{"nobody to give to", []NodeLoad{{"a", 1, 1}, {"b", 0, 0}}, actors, "[]"},
		{"alone", tilted[:1], actors, "[]"},
	} {
		got := []string{}
		for _, m := range b.Plan(c.nodes, c.actors) {
			got = append(got, m.ID.ID, m.From, m.To)
			if m.Why == "" {
				t.Errorf("%s: no reason is given", c.name)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestPlansEvenOut checks on random loads that no move makes the busiest node busier, and that plans keep their bound.
func TestPlansEvenOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		load := map[string]float64{}
		weight := map[string]float64{}
		var actors []ActorLoad
		names := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "nodes")]
		for _, name := range names {
			weight[name] = float64(rapid.IntRange(0, 3).Draw(t, "weight"))
		}
		for i := range rapid.IntRange(0, 30).Draw(t, "actors") {
			a := ActorLoad{roomID(i), rapid.SampledFrom(names).Draw(t, "node"), rapid.Float64Range(0, 1).Draw(t, "load"), rapid.Bool().Draw(t, "pinned")}
			actors = append(actors, a)
			load[a.Node] += a.Load
		}
		var nodes []NodeLoad
		for _, name := range names {
			nodes = append(nodes, NodeLoad{name, weight[name], load[name]})
		}
		b := Balance{Tolerance: 0.1, Least: 0.01, Moves: rapid.IntRange(0, 5).Draw(t, "moves")}
		moves := b.Plan(nodes, actors)
		if len(moves) > b.Moves {
			t.Fatalf("%d moves of %d", len(moves), b.Moves)
		}
		moved := map[Identity]bool{}
		for _, m := range moves {
			i := 0
			for actors[i].ID != m.ID {
				i++
			}
			a := actors[i]
			if a.Pinned || a.Node != m.From || moved[m.ID] || weight[m.To] == 0 {
				t.Fatalf("%+v must not be moved so: %+v", a, m)
			}
			moved[m.ID] = true
			before := max(load[m.From]/weight[m.From], load[m.To]/weight[m.To])
			load[m.From] -= m.Load
			load[m.To] += m.Load
			if after := max(load[m.From]/weight[m.From], load[m.To]/weight[m.To]); after >= before {
				t.Fatalf("%+v makes the busier node busier: %f after %f", m, after, before)
			}
		}
	})
}
