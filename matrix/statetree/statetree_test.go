package statetree

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
)

// disk keeps nodes as a store would.
type disk map[Hash][]byte

func (d disk) fetch(h Hash) ([]byte, error) {
	b, ok := d[h]
	if !ok {
		return nil, errors.New("no such node")
	}
	return b, nil
}

func (d disk) store(nodes []Node) {
	for _, n := range nodes {
		d[n.Hash] = n.Bytes
	}
}

func content(t testing.TB, tree Tree) map[event.Tuple]uint64 {
	t.Helper()
	m := map[event.Tuple]uint64{}
	for e, err := range tree.All() {
		if err != nil {
			t.Fatal(err)
		}
		m[e.Tuple] = e.Value
	}
	return m
}

// A tree behaves like a map, equal contents have equal roots whatever the history, what Fresh gives suffices to open every
// state again, and Diff tells exactly what differs.
func TestTreeIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := disk{}
		tree, model := Empty(d.fetch), map[event.Tuple]uint64{}
		type state struct {
			root  Hash
			model map[event.Tuple]uint64
		}
		history := []state{{tree.Root(), maps.Clone(model)}}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			tuple := event.Tuple{Type: rapid.SampledFrom([]string{"a", "b", "m.room.member"}).Draw(rt, "type"), StateKey: fmt.Sprint(rapid.IntRange(0, 40).Draw(rt, "key"))}
			base := tree
			var err error
			if rapid.IntRange(0, 3).Draw(rt, "op") == 0 {
				tree, err = tree.Delete(tuple)
				delete(model, tuple)
			} else {
				v := rapid.Uint64Range(1, 1000).Draw(rt, "value")
				tree, err = tree.Set(tuple, v)
				model[tuple] = v
			}
			if err != nil {
				rt.Fatal(err)
			}
			d.store(tree.Fresh(base))
			history = append(history, state{tree.Root(), maps.Clone(model)})
			if rapid.Bool().Draw(rt, "reopen") {
				tree = Open(tree.Root(), d.fetch)
			}
		}
		rebuilt := Empty(nil)
		for tuple, v := range model {
			rebuilt, _ = rebuilt.Set(tuple, v)
		}
		if rebuilt.Root() != tree.Root() {
			rt.Fatalf("the same content has the roots %x and %x", rebuilt.Root(), tree.Root())
		}
		for _, s := range history {
			if got := content(t, Open(s.root, d.fetch)); !maps.Equal(got, s.model) {
				rt.Fatalf("opened %v, want %v", got, s.model)
			}
		}
		x := rapid.SampledFrom(history).Draw(rt, "x")
		y := rapid.SampledFrom(history).Draw(rt, "y")
		changes := map[event.Tuple]Change{}
		if err := Diff(Open(x.root, d.fetch), Open(y.root, d.fetch), func(c Change) bool { changes[c.Tuple] = c; return true }); err != nil {
			rt.Fatal(err)
		}
		for tuple := range union(x.model, y.model) {
			c, told := changes[tuple]
			if differs := x.model[tuple] != y.model[tuple]; differs != told || told && (c.Old != x.model[tuple] || c.New != y.model[tuple]) {
				rt.Fatalf("%v: %d → %d, told %v %v", tuple, x.model[tuple], y.model[tuple], told, c)
			}
		}
	})
}

func union(a, b map[event.Tuple]uint64) map[event.Tuple]uint64 {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

func FuzzDecode(f *testing.F) {
	tree, _ := Empty(nil).Set(event.Tuple{Type: "a", StateKey: "b"}, 7)
	f.Add(tree.Fresh(Empty(nil))[0].Bytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decode(b)
		if err == nil && n.used != 0 && len(n.slots) == 0 {
			t.Fatal("a node with slots has none")
		}
	})
}

func BenchmarkSet(b *testing.B) {
	tree := Empty(nil)
	for i := range 100_000 {
		tree, _ = tree.Set(event.Tuple{Type: "m.room.member", StateKey: fmt.Sprintf("@user%d:example.org", i)}, uint64(i+1))
	}
	tree.Root()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		next, _ := tree.Set(event.Tuple{Type: "m.room.member", StateKey: "@user77:example.org"}, uint64(1_000_000+i))
		next.Fresh(tree)
		i++
	}
}
