package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/persistence"
)

func testAtomic(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	commit(t, s, put(pairs.Put(pair{Group: "g", N: 1, Value: "old"})))
	before := group(t, s, "g")
	refused(t, s, &persistence.Commit{
		Write:  []persistence.Mutation{pairs.Put(pair{Group: "g", N: 1, Value: "new"}), pairs.Put(pair{Group: "g", N: 2}), typedRows.Put(typed{Text: "x"})},
		Absent: []persistence.Mutation{pairs.Put(pair{Group: "g", N: 1})},
	}, persistence.ErrExists)
	wantEqual(t, "after a refusal", group(t, s, "g"), before)
	if rows := all(t, s, typedRows, persistence.Range[typed]{}); len(rows) != 0 {
		t.Errorf("a refused commit left %+v", rows)
	}
	commit(t, s, put(pairs.Delete(pair{Group: "g", N: 1}), pairs.Put(pair{Group: "g", N: 2}), typedRows.Put(typed{Text: "x"})))
	if rows := group(t, s, "g"); len(rows) != 1 || rows[0].N != 2 {
		t.Errorf("after a commit: %+v", rows)
	}
	if rows := all(t, s, typedRows, persistence.Range[typed]{}); len(rows) != 1 {
		t.Errorf("after a commit: %+v", rows)
	}
}

func testAbsent(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	row := pairs.Put(pair{Group: "alias"})
	guarded := &persistence.Commit{Write: []persistence.Mutation{row}, Absent: []persistence.Mutation{row}}
	commit(t, s, guarded) // its own write does not count
	refused(t, s, guarded, persistence.ErrExists)
	commit(t, s, put(pairs.Delete(pair{Group: "alias"})))

	// Of many at the same moment exactly one succeeds, whatever else is in their batches; and a deletion counts at once.
	const rivals = 64
	fates := make(chan fate, 2*rivals)
	for n := range rivals {
		s.Submit(guarded, func(p persistence.Position, err error) { fates <- fate{n, p, err} })
		s.Submit(put(pairs.Put(pair{Group: "other", N: int64(n)})), func(p persistence.Position, err error) {
			fates <- fate{rivals + n, p, err}
		})
	}
	won := 0
	for _, f := range receive(t, fates, 2*rivals) {
		switch {
		case f.err == nil && f.n < rivals:
			won++
		case f.n >= rivals && f.err != nil || f.n < rivals && !errors.Is(f.err, persistence.ErrExists):
			t.Errorf("commit %d: %v", f.n, f.err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d rivals succeeded", won, rivals)
	}
	if n := len(group(t, s, "other")); n != rivals {
		t.Errorf("%d of %d bystanders are there", n, rivals)
	}
	again := make(chan fate, 2)
	s.Submit(put(pairs.Delete(pair{Group: "alias"})), func(p persistence.Position, err error) { again <- fate{0, p, err} })
	s.Submit(guarded, func(p persistence.Position, err error) { again <- fate{1, p, err} })
	for _, f := range receive(t, again, 2) {
		if f.err != nil {
			t.Errorf("commit %d after the deletion: %v", f.n, f.err)
		}
	}
}

func testFencing(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	room := persistence.Stream{Kind: "room", ID: "!a"}
	at := func(a persistence.Activation, seq uint64, n int64) *persistence.Commit {
		return &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: seq, Advance: 1,
			Write: []persistence.Mutation{pairs.Put(pair{Group: "g", N: n})}}
	}
	refused(t, s, at(persistence.Activation{}, 0, 1), persistence.ErrFenced) // nobody has claimed it
	refused(t, s, at(persistence.Activation{Epoch: 1}, 0, 1), persistence.ErrFenced)
	one := claim(t, s, room)
	if one.Epoch != 1 || one.Seq != 0 || one.Snapshot != nil || one.SnapshotSeq != 0 {
		t.Fatalf("the first activation is %+v", one)
	}
	commit(t, s, at(one, 0, 1))
	refused(t, s, at(one, 0, 2), persistence.ErrConflict)
	refused(t, s, at(one, 2, 2), persistence.ErrConflict)
	commit(t, s, at(one, 1, 2))

	two := claim(t, s, room)
	if two.Epoch != 2 || two.Seq != 2 {
		t.Fatalf("the second activation is %+v", two)
	}
	refused(t, s, at(one, 2, 3), persistence.ErrFenced)
	refused(t, s, at(one, 7, 3), persistence.ErrFenced) // fenced comes before conflict
	refused(t, s, at(persistence.Activation{Epoch: 3}, 2, 3), persistence.ErrFenced)
	commit(t, s, at(two, 2, 3))

	// Other streams are others, however alike.
	for _, other := range []persistence.Stream{{Kind: "room", ID: "!a\x00"}, {Kind: "room", ID: "!"}, {Kind: "room", ID: ""}, {Kind: "user", ID: "!a"}} {
		if a := claim(t, s, other); a.Epoch != 1 || a.Seq != 0 {
			t.Errorf("the first activation of %q is %+v", other, a)
		}
	}
	if rows := group(t, s, "g"); len(rows) != 3 {
		t.Errorf("rows: %+v", rows)
	}
	// A commit may use many numbers, or none.
	commit(t, s, &persistence.Commit{Stream: room, Epoch: two.Epoch, Seq: 3, Advance: 10})
	commit(t, s, &persistence.Commit{Stream: room, Epoch: two.Epoch, Seq: 13})
	if a := claim(t, s, room); a.Epoch != 3 || a.Seq != 13 {
		t.Errorf("the third activation is %+v", a)
	}
	if _, err := s.Claim(within(t), persistence.Stream{}); err == nil {
		t.Error("the zero stream could be claimed")
	}
}

func testSnapshot(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	room := persistence.Stream{Kind: "room", ID: "!a"}
	a := claim(t, s, room)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	commit(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Advance: 2, Snapshot: []byte("after two")})
	commit(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: 2, Advance: 3})
	a = claim(t, s, room)
	if a.Seq != 5 || a.SnapshotSeq != 2 || string(a.Snapshot) != "after two" {
		t.Fatalf("activation: %+v", a)
	}
	refused(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: 4, Snapshot: []byte("stale")}, persistence.ErrConflict)
	refused(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch - 1, Seq: 5, Snapshot: []byte("stale")}, persistence.ErrFenced)
	commit(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: 5, Snapshot: large})
	a = claim(t, s, room)
	if a.Seq != 5 || a.SnapshotSeq != 5 || !bytes.Equal(a.Snapshot, large) {
		t.Fatalf("activation: seq %d, snapshot of %d bytes at %d", a.Seq, len(a.Snapshot), a.SnapshotSeq)
	}
	commit(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: 5, Advance: 1, Snapshot: []byte{}})
	if a = claim(t, s, room); a.Snapshot == nil || len(a.Snapshot) != 0 || a.SnapshotSeq != 6 {
		t.Fatalf("after an empty snapshot: %+v", a)
	}
}

func testWithoutStream(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	if p := commit(t, s, &persistence.Commit{}); p == 0 || s.Position() != p {
		t.Errorf("an empty commit got position %d, the store has %d", p, s.Position())
	}
	for _, c := range []*persistence.Commit{{Epoch: 1}, {Seq: 1}, {Advance: 1}, {Snapshot: []byte{}}} {
		if _, err := persistence.Await(within(t), s, c); err == nil {
			t.Errorf("%+v without a stream was accepted", c)
		}
	}
}

func testReopen(t *testing.T, b Backend) {
	room := persistence.Stream{Kind: "room", ID: "!a"}
	var want []pair
	var newest persistence.Position
	for round := range 4 {
		s := b.Open(t, Options{})
		if p := s.Position(); p < newest {
			t.Fatalf("round %d: the position went from %d back to %d", round, newest, p)
		}
		wantEqual(t, fmt.Sprint("round ", round), group(t, s, "g"), want)
		a := claim(t, s, room)
		if a.Epoch != persistence.Epoch(round+1) || a.Seq != uint64(10*round) || round > 0 && string(a.Snapshot) != fmt.Sprint("snapshot ", round-1) {
			t.Fatalf("round %d: activation %+v", round, a)
		}
		for i := range 10 {
			row := pair{Group: "g", N: int64(10*round + i)}
			c := &persistence.Commit{Stream: room, Epoch: a.Epoch, Seq: a.Seq + uint64(i), Advance: 1, Write: []persistence.Mutation{pairs.Put(row)}}
			if i == 9 {
				c.Snapshot = []byte(fmt.Sprint("snapshot ", round))
			}
			p := commit(t, s, c)
			if p <= newest {
				t.Fatalf("round %d: position %d after %d", round, p, newest)
			}
			newest = p
			row.Pos = uint64(p)
			want = append(want, row)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: close: %v", round, err)
		}
	}
}
