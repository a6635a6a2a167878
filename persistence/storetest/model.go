package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/persistence"
)

// model is what a store should be, said plainly: rows in a sorted slice and streams in a map.
type model struct {
	rows    []pair // sorted by key
	streams map[persistence.Stream]persistence.Activation
}

func (m *model) find(key pair) (int, bool) { return slices.BinarySearchFunc(m.rows, key, compareKeys) }

// commit says what must happen to the commit, whose rows are pairs; on success, put rows get the position p.
func (m *model) commit(c *persistence.Commit) error {
	if (c.Stream != persistence.Stream{}) {
		a := m.streams[c.Stream]
		if c.Epoch == 0 || a.Epoch != c.Epoch {
			return persistence.ErrFenced
		}
		if a.Seq != c.Seq {
			return persistence.ErrConflict
		}
	}
	for _, row := range c.Absent {
		if _, ok := m.find(*row.Row.(*pair)); ok {
			return persistence.ErrExists
		}
	}
	return nil
}

func (m *model) apply(c *persistence.Commit, p persistence.Position) {
	for _, w := range c.Write {
		row := *w.Row.(*pair)
		row.Pos = uint64(p)
		i, ok := m.find(row)
		switch {
		case w.Delete && ok:
			m.rows = slices.Delete(m.rows, i, i+1)
		case !w.Delete && ok:
			m.rows[i] = row
		case !w.Delete:
			m.rows = slices.Insert(m.rows, i, row)
		}
	}
	if (c.Stream != persistence.Stream{}) {
		a := m.streams[c.Stream]
		a.Seq += c.Advance
		if c.Snapshot != nil {
			a.Snapshot, a.SnapshotSeq = c.Snapshot, a.Seq
		}
		m.streams[c.Stream] = a
	}
}

// testModel does the same random things to the store and to the model. Commits go in bursts, so that a backend that
// batches has several in one batch.
func testModel(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		// Each run has groups and streams of its own.
		round++
		m := &model{streams: make(map[persistence.Stream]persistence.Activation)}
		g := generators{groups: []string{fmt.Sprintf("%06d", round), fmt.Sprintf("%06d!", round)}, stream: fmt.Sprint("run ", round), model: m}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"burst", "burst", "claim", "range", "get"}).Draw(rt, "step") {
			case "burst":
				g.burst(t, rt, s)
			case "claim":
				g.claim(t, rt, s)
			case "range":
				q := g.rangeOf(rt)
				wantEqual(rt, fmt.Sprintf("range %+v", q), all(t, s, pairs, q), selectPairs(m.rows, q))
			case "get":
				key := g.key(rt)
				got, ok, err := pairs.Get(within(t), s, key)
				i, want := m.find(key)
				if err != nil || ok != want || ok && got != m.rows[i] {
					rt.Fatalf("get of %+v: %+v, %v, %v", key, got, ok, err)
				}
			}
		}
		for _, group := range g.groups {
			q := persistence.Range[pair]{Prefix: pair{Group: group}, Keys: 1}
			wantEqual(rt, "in the end", all(t, s, pairs, q), selectPairs(m.rows, q))
		}
	})
}

type generators struct {
	groups []string
	stream string
	model  *model
}

func (g generators) key(rt *rapid.T) pair {
	return pair{
		Group: rapid.SampledFrom(g.groups).Draw(rt, "group"),
		N:     rapid.Int64Range(-2, 2).Draw(rt, "n"),
		Name:  rapid.SampledFrom([]string{"", "a", "aa", "é"}).Draw(rt, "name"),
	}
}

func (g generators) rangeOf(rt *rapid.T) persistence.Range[pair] {
	q := persistence.Range[pair]{
		Prefix:  g.key(rt),
		Keys:    rapid.IntRange(1, 3).Draw(rt, "keys"),
		Reverse: rapid.Bool().Draw(rt, "reverse"),
		Limit:   rapid.IntRange(0, 5).Draw(rt, "limit"),
	}
	bound := func(name string) *pair {
		if !rapid.Bool().Draw(rt, name) {
			return nil
		}
		key := g.key(rt)
		return &key
	}
	if q.Keys < 3 {
		q.From, q.Before = bound("from"), bound("before")
	}
	q.After = bound("after")
	return q
}

func (g generators) streamOf(rt *rapid.T) persistence.Stream {
	return persistence.Stream{Kind: "model", ID: g.stream + rapid.SampledFrom([]string{"", "b"}).Draw(rt, "stream")}
}

func (g generators) claim(t *testing.T, rt *rapid.T, s persistence.Store) {
	stream := g.streamOf(rt)
	want := g.model.streams[stream]
	want.Epoch++
	g.model.streams[stream] = want
	got := claim(t, s, stream)
	if got.Epoch != want.Epoch || got.Seq != want.Seq || string(got.Snapshot) != string(want.Snapshot) || got.SnapshotSeq != want.SnapshotSeq {
		rt.Fatalf("claim: %+v, want %+v", got, want)
	}
}

// burst submits several commits at once; their fates must be those that the model gives them one after another.
func (g generators) burst(t *testing.T, rt *rapid.T, s persistence.Store) {
	commits := rapid.SliceOfN(rapid.Custom(g.commit), 1, 6).Draw(rt, "commits")
	fates := make(chan fate, len(commits))
	for n, c := range commits {
		s.Submit(c, func(p persistence.Position, err error) { fates <- fate{n, p, err} })
	}
	told := receive(t, fates, len(commits))
	slices.SortFunc(told, func(a, b fate) int { return a.n - b.n })
	for n, c := range commits {
		want := g.model.commit(c)
		if f := told[n]; !errors.Is(f.err, want) || (want == nil) != (f.err == nil) {
			rt.Fatalf("commit %d of the burst, %+v: %v, want %v", n, c, f.err, want)
		}
		if want == nil {
			g.model.apply(c, told[n].pos)
		}
	}
}

// commit draws a commit that is mostly right.
func (g generators) commit(rt *rapid.T) *persistence.Commit {
	c := &persistence.Commit{}
	for range rapid.IntRange(0, 4).Draw(rt, "writes") {
		if key := g.key(rt); rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
			c.Write = append(c.Write, pairs.Delete(key))
		} else {
			key.Value = rapid.StringMatching(`[a-z]{0,3}`).Draw(rt, "value")
			c.Write = append(c.Write, pairs.Put(key))
		}
	}
	if rapid.IntRange(0, 3).Draw(rt, "guarded") == 0 {
		c.Absent = append(c.Absent, pairs.Put(g.key(rt)))
	}
	if rapid.Bool().Draw(rt, "fenced") {
		c.Stream = g.streamOf(rt)
		a := g.model.streams[c.Stream]
		c.Epoch, c.Seq = a.Epoch, a.Seq
		if rapid.IntRange(0, 5).Draw(rt, "stale") == 0 && a.Epoch > 0 {
			c.Epoch--
		}
		c.Seq += rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(rt, "ahead")
		c.Advance = rapid.Uint64Range(0, 2).Draw(rt, "advance")
		if rapid.Bool().Draw(rt, "with snapshot") {
			c.Snapshot = []byte(rapid.StringMatching(`[a-z]{1,3}`).Draw(rt, "snapshot"))
		}
	}
	return c
}
