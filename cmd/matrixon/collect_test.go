package main

import "testing"

// A small server collects seldom, a large one wastes no more than half of what it uses.
func TestCollectionPercent(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for live, want := range map[uint64]int{0: 200, 20 * mb: 200, 256 * mb: 200, 400 * mb: 120, 512 * mb: 100, 1000 * mb: 50, 20_000 * mb: 50} {
		if got := collectionPercent(live); got != want {
			t.Errorf("%d MB in use: %d %%, not %d", live/mb, got, want)
		}
	}
}
