package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// corpus makes texts of words as frequent as those of a language: the nth is about n times rarer than the first.
func corpus(n, rooms int) []persistence.Text {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same texts each time
	zipf := rand.NewZipf(random, 1.1, 5, 50_000)
	texts := make([]persistence.Text, n)
	for i := range texts {
		var body strings.Builder
		for range 5 + random.IntN(20) {
			fmt.Fprintf(&body, "word%d ", zipf.Uint64())
		}
		texts[i] = text(fmt.Sprintf("!room%d", random.IntN(rooms)), uint64(i)+1, "content.body", "@user:example.org", int64(i), body.String())
	}
	return texts
}

// BenchmarkUpdate measures how fast texts are taken in.
func BenchmarkUpdate(b *testing.B, s persistence.Searcher) {
	const portion = 500
	texts := corpus(20_000, 100)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		from := i * portion % len(texts)
		update(b, s, texts[from:from+portion])
	}
	b.ReportMetric(float64(b.N)*portion/b.Elapsed().Seconds(), "texts/s")
}

// BenchmarkSearch measures searches among many texts.
func BenchmarkSearch(b *testing.B, s persistence.Searcher) {
	const size, rooms, portion = 200_000, 2000, 1000
	texts := corpus(size, rooms)
	for from := 0; from < size; from += portion {
		update(b, s, texts[from:from+portion])
	}
	all := make([]string, rooms)
	for i := range all {
		all[i] = fmt.Sprintf("!room%d", i)
	}
	for _, c := range []struct {
		name, term string
		rooms      int
		recent     bool
	}{
		{"rare", "word20000", rooms, true},
		{"two words", "word3 word200", rooms, true},
		{"common", "word1", rooms, true},
		{"common by rank", "word1", rooms, false},
		{"rare in 10 rooms", "word20000", 10, true},
		{"common in 10 rooms", "word1", 10, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := persistence.TextQuery{Tokens: words.Query(c.term, 3), Rooms: all[:c.rooms], Recent: c.recent, Limit: 100}
			for b.Loop() {
				if _, err := s.Search(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
