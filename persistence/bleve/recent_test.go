package bleve

import (
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

func TestPortions(t *testing.T) {
	t.Parallel()
	storetest.RunSearchPortions(t, func(t *testing.T, portion int) persistence.Searcher {
		x, err := Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = x.Close() })
		x.portion = uint64(portion)
		return x
	})
}
