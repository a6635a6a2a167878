package pebble

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
)

// BenchmarkCommit measures durable commits of a row of 1 kB, each with its fenced stream, by writers that wait for each
// commit, on the file system of TMPDIR.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openAt(b, Options{Dir: b.TempDir(), Log: quiet}).(*Store)
			defer s.Close()
			text := strings.Repeat("x", 1000)
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					stream := persistence.Stream{Kind: "room", ID: fmt.Sprint(w)}
					a, err := s.Claim(b.Context(), stream)
					if err != nil {
						b.Error(err)
						return
					}
					for n := range (b.N + writers - 1) / writers {
						row := kept{N: uint64(w)<<32 | uint64(n), Text: text}
						c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Seq: uint64(n), Advance: 1, Write: []persistence.Mutation{keptRows.Put(row)}}
						if _, err := persistence.Await(b.Context(), s, c); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkRead measures reading a row of 1 kB by its key, and rows in a scan.
func BenchmarkRead(b *testing.B) {
	s := openAt(b, Options{Dir: b.TempDir(), Log: quiet}).(*Store)
	defer s.Close()
	c := &persistence.Commit{}
	for n := range 10000 {
		c.Write = append(c.Write, keptRows.Put(kept{N: uint64(n), Text: strings.Repeat("x", 1000)}))
	}
	if _, err := persistence.Await(b.Context(), s, c); err != nil {
		b.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		n := uint64(0)
		for b.Loop() {
			n = (n + 7919) % 10000
			if _, ok, err := keptRows.Get(b.Context(), s, kept{N: n}); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("scan of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rows, err := keptRows.All(b.Context(), s, persistence.Range[kept]{From: &kept{N: 5000}, Limit: 100}); len(rows) != 100 || err != nil {
				b.Fatal(len(rows), err)
			}
		}
	})
}
