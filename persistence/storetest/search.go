package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// RunSearch tests a full-text index; open opens an empty one, and again after a Close, if that is more than a new one.
func RunSearch(t *testing.T, persistent bool, open func(t *testing.T) (first persistence.Searcher, again func() persistence.Searcher)) {
	t.Run("order", func(t *testing.T) { t.Parallel(); s, _ := open(t); testSearchOrder(t, s) })
	t.Run("filters", func(t *testing.T) { t.Parallel(); s, _ := open(t); testSearchFilters(t, s) })
	t.Run("replace and remove", func(t *testing.T) { t.Parallel(); s, _ := open(t); testSearchReplace(t, s) })
	t.Run("model", func(t *testing.T) { t.Parallel(); s, _ := open(t); testSearchModel(t, s) })
	t.Run("complete", func(t *testing.T) { t.Parallel(); testSearchComplete(t, persistent, open) })
}

func text(roomID string, seq uint64, key, sender string, ts int64, body string) persistence.Text {
	return persistence.Text{TextRef: persistence.TextRef{RoomID: roomID, Seq: seq}, Key: key, Sender: sender, TS: ts, Tokens: words.Index(body)}
}

func update(t testing.TB, s persistence.Searcher, put []persistence.Text, remove ...persistence.TextRef) {
	t.Helper()
	if err := s.Update(context.Background(), put, remove); err != nil {
		t.Fatal(err)
	}
}

// found pages through everything that is found, one by one and at once, which must agree.
func found(t testing.TB, s persistence.Searcher, q persistence.TextQuery) []string {
	t.Helper()
	names := func(limit int) (all []string) {
		q := q
		for q.Limit = limit; ; {
			hits, err := s.Search(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, hit := range hits {
				all = append(all, fmt.Sprintf("%s/%d", hit.RoomID, hit.Seq))
			}
			if len(hits) < limit {
				return all
			}
			q.After = &hits[len(hits)-1]
		}
	}
	whole := names(1000)
	if single := names(1); !slices.Equal(single, whole) {
		t.Fatalf("%+v: one by one %v, at once %v", q, single, whole)
	}
	return whole
}

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func testSearchOrder(t *testing.T, s persistence.Searcher) {
	update(t, s, []persistence.Text{
		text("!b", 1, "content.body", "@u", 100, "the quick fox and many more words that make this text a longer one than the others"),
		text("!a", 1, "content.body", "@u", 300, "quick quick"),
		text("!a", 2, "content.body", "@u", 300, "quickly"),
		text("!b", 2, "content.body", "@u", -5, "quick fox"),
		text("!a", 3, "content.body", "@u", 1<<40, "nothing of that"),
	})
	rooms := []string{"!a", "!b"}
	expect(t, found(t, s, persistence.TextQuery{Tokens: words.Query("quick", 1), Rooms: rooms, Recent: true}), "!a/2", "!a/1", "!b/1", "!b/2")
	expect(t, found(t, s, persistence.TextQuery{Tokens: words.Query("fox quick", 1), Rooms: rooms, Recent: true}), "!b/1", "!b/2")
	if best := found(t, s, persistence.TextQuery{Tokens: words.Query("quick fox", 1), Rooms: rooms}); !slices.Equal(best, []string{"!b/2", "!b/1"}) {
		t.Errorf("the short text should be the better: %v", best)
	}
	expect(t, found(t, s, persistence.TextQuery{Tokens: words.Query("quick", 1), Recent: true}))
	expect(t, found(t, s, persistence.TextQuery{Rooms: rooms, Recent: true}))
	expect(t, found(t, s, persistence.TextQuery{Tokens: words.Query("uick", 1), Rooms: rooms}))
}

func testSearchFilters(t *testing.T, s persistence.Searcher) {
	update(t, s, []persistence.Text{
		text("!a", 1, "content.body", "@u", 1, "word"),
		text("!a", 2, "content.name", "@v", 2, "word"),
		text("!b", 1, "content.topic", "@u", 3, "WORD"),
		text("!c d", 1, "content.body", "@w", 4, "wörd"),
		text("!a", 3, "content.body", "@u", 5, "東京都 it's \"a' & | ! <-> :* \\ test"),
	})
	q := func(term string) persistence.TextQuery {
		return persistence.TextQuery{Tokens: words.Query(term, 1), Rooms: []string{"!a", "!b", "!c d", "!nothing"}, Recent: true}
	}
	expect(t, found(t, s, q("word")), "!c d/1", "!b/1", "!a/2", "!a/1")
	room := q("word")
	room.Rooms = []string{"!a"}
	expect(t, found(t, s, room), "!a/2", "!a/1")
	key := q("word")
	key.Keys = []string{"content.name", "content.topic"}
	expect(t, found(t, s, key), "!b/1", "!a/2")
	sender := q("word")
	sender.Senders = []string{"@u"}
	expect(t, found(t, s, sender), "!b/1", "!a/1")
	for _, term := range []string{"京都", "東", "都", "it's a test", "東京 test"} {
		expect(t, found(t, s, q(term)), "!a/3")
	}
	expect(t, found(t, s, q("東都")))
}

func testSearchReplace(t *testing.T, s persistence.Searcher) {
	q := func(term string) persistence.TextQuery {
		return persistence.TextQuery{Tokens: words.Query(term, 1), Rooms: []string{"!a"}, Recent: true}
	}
	update(t, s, []persistence.Text{text("!a", 1, "content.body", "@u", 1, "first"), text("!a", 2, "content.body", "@u", 2, "second")})
	update(t, s, []persistence.Text{text("!a", 1, "content.body", "@u", 1, "third")})
	expect(t, found(t, s, q("first")))
	expect(t, found(t, s, q("third")), "!a/1")
	update(t, s, nil, persistence.TextRef{RoomID: "!a", Seq: 1}, persistence.TextRef{RoomID: "!a", Seq: 9})
	expect(t, found(t, s, q("third")))
	expect(t, found(t, s, q("second")), "!a/2")
	update(t, s, nil)
}

// testSearchModel compares the index with looking at every text.
func testSearchModel(t *testing.T, s persistence.Searcher) {
	var all []persistence.Text
	next := uint64(0)
	vocabulary := []string{"red", "reddish", "green", "grey", "東京", "京都", "blue"}
	rapid.Check(t, func(t *rapid.T) {
		next++
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, 4).Draw(t, "body"), " ")
		room := rapid.SampledFrom([]string{"!a", "!b", "!c"}).Draw(t, "room")
		added := text(room, next, "content.body", "@u", rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(1e12, 1e12+1e8), rapid.Int64()).Draw(t, "ts"), body)
		if err := s.Update(context.Background(), []persistence.Text{added}, nil); err != nil {
			t.Fatal(err)
		}
		all = append(all, added)
		q := persistence.TextQuery{Tokens: words.Query(rapid.SampledFrom([]string{"r", "red", "gre", "東", "京", "blue red", "green 京都"}).Draw(t, "term"), 1),
			Rooms: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"!a", "!b", "!c"}), 1, 3, rapid.ID).Draw(t, "rooms"), Limit: 10_000}
		want := map[persistence.TextRef]bool{}
		for _, x := range all {
			if slices.Contains(q.Rooms, x.RoomID) && !slices.ContainsFunc(q.Tokens, func(token words.Token) bool { return !slices.ContainsFunc(x.Tokens, token.Matches) }) {
				want[x.TextRef] = true
			}
		}
		if rapid.Bool().Draw(t, "many rooms") {
			for i := range 100 {
				q.Rooms = append(q.Rooms, fmt.Sprintf("!other%d", i))
			}
		}
		for _, q.Recent = range []bool{true, false} {
			hits, err := s.Search(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(hits) != len(want) {
				t.Fatalf("%d hits, want %d", len(hits), len(want))
			}
			for i, hit := range hits {
				if !want[hit.TextRef] {
					t.Fatalf("%v should not be found", hit)
				}
				if i > 0 && q.Recent && hits[i-1].TS < hit.TS || i > 0 && !q.Recent && hits[i-1].Rank < hit.Rank {
					t.Fatalf("%v comes before %v", hits[i-1], hit)
				}
			}
		}
	})
}

func testSearchComplete(t *testing.T, persistent bool, open func(t *testing.T) (persistence.Searcher, func() persistence.Searcher)) {
	ctx := context.Background()
	s, again := open(t)
	is := func(s persistence.Searcher, want bool) {
		t.Helper()
		if got, err := s.Complete(ctx); err != nil || got != want {
			t.Errorf("complete: %v %v, want %v", got, err, want)
		}
	}
	is(s, false)
	update(t, s, []persistence.Text{text("!a", 1, "content.body", "@u", 1, "word")})
	is(s, false)
	for range 2 {
		if err := s.MarkComplete(ctx); err != nil {
			t.Fatal(err)
		}
		is(s, true)
	}
	if !persistent {
		return
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = again()
	is(s, true)
	expect(t, found(t, s, persistence.TextQuery{Tokens: words.Query("word", 1), Rooms: []string{"!a"}}), "!a/1")
}
