package reader_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Last agrees with a list of what was newest after each commit, whatever gaps the room gets and when they are filled. Positions are
// written as the room's actor writes them: from the first gap on.
func TestLastAgreesWithTheCommits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		const room = "!r"
		store := memory.New(memory.Options{})
		defer store.Close()
		commit := func(writes ...persistence.Mutation) uint64 {
			pos, err := persistence.Await(t.Context(), store, &persistence.Commit{Write: writes})
			if err != nil {
				rt.Fatal(err)
			}
			return uint64(pos)
		}
		event := func(seq uint64) persistence.Mutation {
			return schema.Events.Put(schema.Event{RoomID: room, Seq: seq, JSON: []byte("{}")})
		}
		type moment struct{ pos, newest uint64 }
		moments := []moment{{}}
		type gap struct{ low, next uint64 }
		var gaps []gap
		newest, gapped := uint64(0), false
		for range rapid.IntRange(1, 25).Draw(rt, "commits") {
			var writes []persistence.Mutation
			switch kind := rapid.IntRange(0, 9).Draw(rt, "kind"); {
			case kind == 0 && len(gaps) > 0: // history is fetched
				i := rapid.IntRange(0, len(gaps)-1).Draw(rt, "gap")
				if g := &gaps[i]; g.next > g.low {
					commit(event(g.next))
					g.next--
				}
				continue
			case kind == 1: // events come whose past is missing
				gaps, gapped = append(gaps, gap{newest, newest + 10}), true
				newest += 10
				fallthrough
			default:
				for range rapid.IntRange(1, 3).Draw(rt, "events") {
					newest++
					writes = append(writes, event(newest))
				}
			}
			if gapped {
				writes = append(writes, schema.RoomPositions.Put(schema.RoomPosition{RoomID: room, Seq: newest}))
			}
			moments = append(moments, moment{commit(writes...), newest})
			if rapid.Bool().Draw(rt, "elsewhere") {
				commit(schema.Events.Put(schema.Event{RoomID: "!other", Seq: uint64(len(moments)), JSON: []byte("{}")}))
			}
		}
		r := reader.New(store, time.Now, "")
		for pos := range uint64(store.Position()) + 3 {
			want := uint64(0)
			for _, m := range moments {
				if m.pos <= pos {
					want = m.newest
				}
			}
			row, ok, err := r.Last(t.Context(), room, pos)
			if err != nil || row.Seq != want || ok != (want > 0) {
				rt.Fatalf("at %d the last is %d (%v, %v), want %d", pos, row.Seq, ok, err, want)
			}
		}
	})
}

// A room that was joined through another server begins with a high number, and nothing is below it.
func TestLastBeforeARoomBegan(t *testing.T) {
	t.Parallel()
	store := memory.New(memory.Options{})
	defer store.Close()
	pos, err := persistence.Await(t.Context(), store, &persistence.Commit{Write: []persistence.Mutation{
		schema.Events.Put(schema.Event{RoomID: "!r", Seq: 1 << 40, JSON: []byte("{}")}), schema.RoomPositions.Put(schema.RoomPosition{RoomID: "!r", Seq: 1 << 40})}})
	if err != nil {
		t.Fatal(err)
	}
	r := reader.New(store, time.Now, "")
	if row, ok, err := r.Last(t.Context(), "!r", uint64(pos)-1); ok || err != nil {
		t.Errorf("before the room began the last is %d, %v", row.Seq, err)
	}
	if row, ok, err := r.Last(t.Context(), "!r", uint64(pos)); !ok || row.Seq != 1<<40 || err != nil {
		t.Errorf("the last is %d, %v", row.Seq, err)
	}
}
