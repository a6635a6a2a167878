package postgres

import (
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	storetest.RunSearch(t, true, func(t *testing.T) (persistence.Searcher, func() persistence.Searcher) {
		url := place(t)
		return openAt(t, Options{URL: url}).Search(), func() persistence.Searcher { return openAt(t, Options{URL: url}).Search() }
	})
}

func TestSearchPortions(t *testing.T) {
	t.Parallel()
	storetest.RunSearchPortions(t, func(t *testing.T, portion int) persistence.Searcher {
		x := openAt(t, Options{URL: place(t)}).Search()
		x.portion = portion
		return x
	})
}

func BenchmarkSearchUpdate(b *testing.B) {
	storetest.BenchmarkUpdate(b, openAt(b, Options{URL: place(b)}).Search())
}

func BenchmarkSearch(b *testing.B) {
	storetest.BenchmarkSearch(b, openAt(b, Options{URL: place(b)}).Search())
}
