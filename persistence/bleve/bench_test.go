package bleve

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// corpus makes texts of words as frequent as those of a language: the nth is about n times rarer than the first.
func corpus(n, rooms int) []persistence.Text {
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 5, 50_000)
	texts := make([]persistence.Text, n)
	for i := range texts {
		body := ""
		for range 5 + random.IntN(20) {
			body += fmt.Sprintf("word%d ", zipf.Uint64())
		}
		texts[i] = persistence.Text{TextRef: persistence.TextRef{RoomID: fmt.Sprintf("!room%d", random.IntN(rooms)), Seq: uint64(i) + 1},
			Key: "content.body", Sender: "@user:example.org", TS: int64(i), Tokens: words.Index(body)}
	}
	return texts
}

func BenchmarkUpdate(b *testing.B) {
	s, err := create(filepath.Join(b.TempDir(), "search"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the benchmark is over
	texts := corpus(20_000, 100)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		from := i * 500 % len(texts)
		if err := s.Update(b.Context(), texts[from:from+500], nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "texts/s")
}

func BenchmarkSearch(b *testing.B) {
	const size, rooms = 200_000, 2000
	s, err := create(filepath.Join(b.TempDir(), "search"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the benchmark is over
	texts := corpus(size, rooms)
	for from := 0; from < size; from += 1000 {
		if err := s.Update(b.Context(), texts[from:from+1000], nil); err != nil {
			b.Fatal(err)
		}
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
		{"rare", "word20000", rooms, true}, {"common", "word1", rooms, true}, {"common by rank", "word1", rooms, false},
		{"two", "word3 word200", rooms, true}, {"rare in 10 rooms", "word20000", 10, true}, {"common in 10 rooms", "word1", 10, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := persistence.TextQuery{Tokens: words.Query(c.term, 3), Rooms: all[:c.rooms], Recent: c.recent, Limit: 100}
			for b.Loop() {
				if _, err := s.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
