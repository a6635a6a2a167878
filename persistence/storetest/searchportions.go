package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// RunSearchPortions tests a full-text index that looks at a few texts at a time; open opens an empty one, with how many these are.
func RunSearchPortions(t *testing.T, open func(t *testing.T, portion int) persistence.Searcher) {
	t.Run("the newest", func(t *testing.T) { t.Parallel(); testRecentInPortions(t, open(t, 8)) })
	t.Run("the best of the newest", func(t *testing.T) {
		t.Parallel()
		testBestOfTheNewest(t, open(t, 8))
		testBestOfAll(t, open(t, 5000))
	})
}

// many puts texts of one word into the index, and says which they are, the newest first.
func many(t *testing.T, x persistence.Searcher, n int) []persistence.TextRef {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	// At one moment, in one minute, in a year, and whenever others say.
	times := []func() int64{
		func() int64 { return 1_700_000_000_000 },
		func() int64 { return 1_700_000_000_000 + rng.Int64N(60_000) },
		func() int64 { return 1_680_000_000_000 + rng.Int64N(31_536_000_000) },
		func() int64 { return int64(rng.Uint64()) },
		func() int64 { return math.MaxInt64 - rng.Int64N(2) },
		func() int64 { return rng.Int64N(2) - 1 },
	}
	texts := make([]persistence.Text, n)
	for i := range texts {
		texts[i] = persistence.Text{TextRef: persistence.TextRef{RoomID: fmt.Sprintf("!%d", rng.IntN(3)), Seq: uint64(i)}, Key: "content.body", Sender: "@u",
			TS: times[rng.IntN(len(times))](), Tokens: words.Index([]string{"word", "words and more", "word in a longer text"}[rng.IntN(3)])}
	}
	if err := x.Update(context.Background(), texts, nil); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(texts, func(a, b persistence.Text) int {
		return cmp.Or(cmp.Compare(b.TS, a.TS), cmp.Compare(b.RoomID, a.RoomID), cmp.Compare(b.Seq, a.Seq))
	})
	refs := make([]persistence.TextRef, n)
	for i, text := range texts {
		refs[i] = text.TextRef
	}
	return refs
}

// pages searches page by page.
func pages(t *testing.T, x persistence.Searcher, q persistence.TextQuery) (all []persistence.TextRef, last persistence.TextHit) {
	t.Helper()
	for {
		hits, err := x.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, hit := range hits {
			all = append(all, hit.TextRef)
		}
		if len(hits) < q.Limit {
			return all, last
		}
		last = hits[len(hits)-1]
		q.After = &last
	}
}

// What is looked at in portions is found in the same order as if it were looked at as a whole.
func testRecentInPortions(t *testing.T, x persistence.Searcher) {
	all := many(t, x, 300)
	for _, rooms := range [][]string{{"!0", "!1", "!2"}, {"!1"}, {"!none"}} {
		var want []persistence.TextRef
		for _, ref := range all {
			if slices.Contains(rooms, ref.RoomID) {
				want = append(want, ref)
			}
		}
		for _, limit := range []int{1, 7, 100, 5000} {
			got, _ := pages(t, x, persistence.TextQuery{Tokens: words.Query("word", 1), Rooms: rooms, Recent: true, Limit: limit})
			if !slices.Equal(got, want) {
				t.Errorf("%v by %d: %d of %d", rooms, limit, len(got), len(want))
			}
		}
	}
}

// The best of very many are those of the newest, and every page is of the same.
func testBestOfTheNewest(t *testing.T, x persistence.Searcher) {
	all := many(t, x, 300)
	q := persistence.TextQuery{Tokens: words.Query("word", 1), Rooms: []string{"!0", "!1", "!2"}, Limit: 5000}
	whole, _ := pages(t, x, q)
	if len(whole) < 4 || len(whole) == len(all) {
		t.Fatalf("%d are looked at", len(whole))
	}
	for _, ref := range whole {
		if !slices.Contains(all[:len(whole)], ref) {
			t.Errorf("%v is not one of the newest", ref)
		}
	}
	q.Limit = 1
	single, last := pages(t, x, q)
	if !slices.Equal(single, whole) || last.Since == 0 {
		t.Errorf("one by one %v since %d, at once %v", single, last.Since, whole)
	}
}

// All of a few are looked at.
func testBestOfAll(t *testing.T, x persistence.Searcher) {
	all := many(t, x, 300)
	q := persistence.TextQuery{Tokens: words.Query("word", 1), Rooms: []string{"!0", "!1", "!2"}, Limit: 5000}
	if whole, _ := pages(t, x, q); len(whole) != len(all) {
		t.Errorf("%d of %d", len(whole), len(all))
	}
}
