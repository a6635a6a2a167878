package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// BenchmarkCommit measures durable commits of a row of 1 kB, each with its fenced stream, by writers that wait for each commit;
// those that wait at the same time go in one transaction. The server stands beside, on the file system of TMPDIR.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openAt(b, Options{URL: place(b)})
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
						row := schema.Setting{Name: fmt.Sprintf("%d/%d", w, n), Value: text}
						c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Seq: uint64(n), Advance: 1, Write: []persistence.Mutation{schema.Settings.Put(row)}}
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

// BenchmarkRead measures reading a row of 1 kB by its key, alone and by many at once, and rows in scans.
func BenchmarkRead(b *testing.B) {
	const rows = 10_000
	s := openAt(b, Options{URL: place(b)})
	c := &persistence.Commit{}
	name := func(n int) string { return fmt.Sprintf("%05d", n) }
	for n := range rows {
		c.Write = append(c.Write, schema.Settings.Put(schema.Setting{Name: name(n), Value: strings.Repeat("x", 1000)}))
	}
	if _, err := persistence.Await(b.Context(), s, c); err != nil {
		b.Fatal(err)
	}
	get := func(b *testing.B, n int) {
		if _, ok, err := schema.Settings.Get(b.Context(), s, schema.Setting{Name: name(n * 7919 % rows)}); !ok || err != nil {
			b.Error(ok, err)
		}
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			get(b, n)
		}
	})
	b.Run("get by many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for n := 0; pb.Next(); n++ {
				get(b, n)
			}
		})
	})
	scan := func(count int) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found, err := schema.Settings.All(b.Context(), s, persistence.Range[schema.Setting]{From: &schema.Setting{Name: name(5000)}, Limit: count})
				if len(found) != count || err != nil {
					b.Fatal(len(found), err)
				}
			}
		}
	}
	b.Run("scan of 100", scan(100))
	b.Run("scan of 4000", scan(4000))
}
