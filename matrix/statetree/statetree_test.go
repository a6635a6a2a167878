package statetree

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"unsafe"

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
			rebuilt = set(t, rebuilt, tuple, v)
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

// members is a state of n members, stored.
func members(t testing.TB, n int) (disk, Tree) {
	t.Helper()
	d := disk{}
	tree := Empty(d.fetch)
	for i := range n {
		tree = set(t, tree, member(i), uint64(i+1))
	}
	d.store(tree.Fresh(Empty(nil)))
	return d, tree
}

func member(i int) event.Tuple {
	return event.Tuple{Type: "m.room.member", StateKey: fmt.Sprintf("@user%d:example.org", i)}
}

func set(t testing.TB, tree Tree, tuple event.Tuple, value uint64) Tree {
	t.Helper()
	next, err := tree.Set(tuple, value)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// counted counts what is fetched.
func (d disk) counted(n *int) Fetcher {
	return func(h Hash) ([]byte, error) {
		*n++
		return d.fetch(h)
	}
}

// In a state of 20,000 members a look-up, a change and a comparison read the path to the place, and nothing is read twice.
func TestOnlyPathsAreRead(t *testing.T) {
	t.Parallel()
	const path = 8 // nodes above a leaf, with much to spare: 16⁴ > 20,000
	d, tree := members(t, 20_000)
	read := 0
	opened := Open(tree.Root(), d.counted(&read))
	for range 2 {
		if v, ok, err := opened.Get(member(77)); v != 78 || !ok || err != nil {
			t.Fatal(v, ok, err)
		}
	}
	if read > path {
		t.Errorf("a look-up read %d nodes", read)
	}
	read = 0
	changed := set(t, Open(tree.Root(), d.counted(&read)), member(99), 1_000_000)
	nodes := changed.Fresh(tree)
	if read > path || len(nodes) > path {
		t.Errorf("a change read %d nodes and made %d", read, len(nodes))
	}
	d.store(nodes)
	readA, readB := 0, 0
	var changes []Change
	err := Diff(Open(tree.Root(), d.counted(&readA)), Open(changed.Root(), d.counted(&readB)), func(c Change) bool {
		changes = append(changes, c)
		return true
	})
	if err != nil || !slices.Equal(changes, []Change{{member(99), 100, 1_000_000}}) {
		t.Errorf("the difference is %v, %v", changes, err)
	}
	if readA > path || readB > path {
		t.Errorf("the comparison read %d and %d nodes", readA, readB)
	}
}

// What Fresh gave once is given again to whoever has another base.
func TestFreshForSeveralBases(t *testing.T) {
	t.Parallel()
	_, tree := members(t, 100)
	again := disk{}
	again.store(tree.Fresh(Empty(nil)))
	if got, want := content(t, Open(tree.Root(), again.fetch)), content(t, tree); !maps.Equal(got, want) {
		t.Errorf("stored a second time: %d entries, want %d", len(got), len(want))
	}
	if nodes := tree.Fresh(tree); len(nodes) != 0 {
		t.Errorf("%d nodes are new to the tree itself", len(nodes))
	}
}

// Every damage to a stored node, and its absence, is an error of whatever reads it.
func TestDamage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d, tree := members(t, rapid.IntRange(1, 40).Draw(rt, "members"))
		hashes := slices.SortedFunc(maps.Keys(d), func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
		h := rapid.SampledFrom(hashes).Draw(rt, "node")
		damaged := slices.Clone(d[h])
		switch rapid.IntRange(0, 3).Draw(rt, "damage") {
		case 0:
			damaged[rapid.IntRange(0, len(damaged)-1).Draw(rt, "at")] ^= rapid.ByteRange(1, 255).Draw(rt, "bits")
		case 1:
			damaged = damaged[:rapid.IntRange(0, len(damaged)-1).Draw(rt, "length")]
		case 2:
			damaged = append(damaged, 0)
		case 3:
			damaged = nil
		}
		if d[h] = damaged; damaged == nil {
			delete(d, h)
		}
		if _, err := Open(tree.Root(), d.fetch).Len(); err == nil {
			rt.Fatal("reading all went well")
		}
		if err := Diff(Empty(nil), Open(tree.Root(), d.fetch), func(Change) bool { return true }); err == nil {
			rt.Fatal("comparing went well")
		}
	})
}

func TestErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	gone := Open(Hash{1}, disk{}.fetch)
	if _, _, err := gone.Get(member(1)); err == nil {
		t.Error("Get gave no error")
	}
	if _, err := gone.Set(member(1), 1); err == nil {
		t.Error("Set gave no error")
	}
	if _, err := gone.Delete(member(1)); err == nil {
		t.Error("Delete gave no error")
	}
	if _, err := Open(Hash{1}, nil).Len(); err == nil {
		t.Error("a tree without a fetcher gave no error")
	}
	if _, err := Empty(nil).Set(member(1), 0); err == nil {
		t.Error("the number 0 was taken")
	}
	for _, b := range [][]byte{{1}, make([]byte, 15), make([]byte, 17)} {
		if _, err := HashFrom(b); err == nil {
			t.Errorf("%d bytes were taken for a hash", len(b))
		}
	}
	if h, err := HashFrom(nil); h != (Hash{}) || err != nil {
		t.Errorf("no bytes are the hash %x, %v", h, err)
	}
}

// Types and state keys that are the same text when put together are different places, whatever stands between them.
func TestPlacesAreNotConfused(t *testing.T) {
	t.Parallel()
	places := []event.Tuple{{Type: "a", StateKey: "b\x00c"}, {Type: "a\x00b", StateKey: "c"}, {Type: "a\x00b\x00c"}, {StateKey: "a\x00b\x00c"}, {Type: "ab", StateKey: "c"}}
	tree, want := Empty(nil), map[event.Tuple]uint64{}
	for i, place := range places {
		tree, want[place] = set(t, tree, place, uint64(i+1)), uint64(i+1)
	}
	if got := content(t, tree); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Iterating and comparing end when the caller has enough.
func TestStopping(t *testing.T) {
	t.Parallel()
	_, tree := members(t, 50)
	n := 0
	for range tree.All() {
		if n++; n == 3 {
			break
		}
	}
	told := 0
	err := Diff(Empty(nil), tree, func(Change) bool { told++; return told < 3 })
	if n != 3 || told != 3 || err != nil {
		t.Errorf("%d entries, %d changes, %v", n, told, err)
	}
}

// Bytes that are read as a node are the only bytes of that node.
func FuzzDecode(f *testing.F) {
	d, _ := members(f, 30)
	for _, b := range d {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		used, slots, err := decode(b)
		if err != nil {
			return
		}
		n := &node{used: used, slots: slots}
		if again := n.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %x", b, again)
		}
	})
}

const large = 100_000

// A change with what is stored for it: the hashes and bytes of the new nodes.
func BenchmarkSetAndFresh(b *testing.B) {
	_, tree := members(b, large)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		next := set(b, tree, member(i%large), uint64(large+1+i))
		next.Fresh(tree)
		i++
	}
}

func BenchmarkSet(b *testing.B) {
	_, tree := members(b, large)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		set(b, tree, member(i%large), uint64(large+1+i))
		i++
	}
}

func BenchmarkGet(b *testing.B) {
	_, tree := members(b, large)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok, _ := tree.Get(member(i % large)); !ok {
			b.Fatal("a member is not there")
		}
		i++
	}
}

// A look-up in a state of which nothing is in memory.
func BenchmarkOpenAndGet(b *testing.B) {
	d, tree := members(b, large)
	root := tree.Root()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok, _ := Open(root, d.fetch).Get(member(i % large)); !ok {
			b.Fatal("a member is not there")
		}
		i++
	}
}

func BenchmarkAll(b *testing.B) {
	d, tree := members(b, large)
	root := tree.Root()
	b.ReportAllocs()
	for b.Loop() {
		if n, err := Open(root, d.fetch).Len(); n != large || err != nil {
			b.Fatal(n, err)
		}
	}
}

// The difference of two large states that differ in ten places.
func BenchmarkDiff(b *testing.B) {
	_, tree := members(b, large)
	other := tree
	for i := range 10 {
		other = set(b, other, member(i*1000), 1_000_000)
	}
	other.Root()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := Diff(tree, other, func(Change) bool { n++; return true }); n != 10 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// TestTreesHoldNoEvents: the texts of a place are not parts of the event's, which would stay in memory for as long as the tree.
func TestTreesHoldNoEvents(t *testing.T) {
	t.Parallel()
	tree := Empty(nil)
	given := map[*byte]bool{}
	for i := range 40 {
		for value := range uint64(2) {
			text := fmt.Sprintf("m.room.member@user%d:example.org", i)
			place := event.Tuple{Type: text[:13], StateKey: text[13:]}
			given[unsafe.StringData(place.Type)], given[unsafe.StringData(place.StateKey)] = true, true
			tree = set(t, tree, place, value+1)
		}
	}
	for e, err := range tree.All() {
		if err != nil || given[unsafe.StringData(e.Type)] || given[unsafe.StringData(e.StateKey)] {
			t.Fatalf("%v holds what it was given: %v", e, err)
		}
	}
}
