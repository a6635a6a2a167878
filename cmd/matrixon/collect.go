package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// By how many percent what is in use may grow before garbage is collected. On a small server what is in use is little beside the program
// itself and what the store keeps outside, so that Go's 100 spends a tenth of the processor on saving a few MB. On one with tens of thousands
// of connections it is most of the memory, of which twice as much again would be wasted.
const (
	collectLatest   = 200
	collectSoonest  = 50
	garbageWelcome  = 512 << 20 // bytes that may become garbage in any case, as far as collectLatest allows
	collectionCheck = 10 * time.Second
)

// collectSeldom has garbage be collected as seldom as memory allows, until ctx ends.
func collectSeldom(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	percent := 0
	tick := time.NewTicker(collectionCheck)
	defer tick.Stop()
	for {
		metrics.Read(live)
		if p := collectionPercent(live[0].Value.Uint64() + live[1].Value.Uint64()); p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// collectionPercent is the percentage for so many bytes in use. It is in steps of ten, because each change costs a collection.
func collectionPercent(live uint64) int {
	if live == 0 {
		return collectLatest
	}
	return int(min(max(garbageWelcome*10/live*10, collectSoonest), collectLatest))
}
