package room

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/matrixon/matrixon/messages"
)

// BenchmarkSend is a message to one room, from the question to the answer, with many senders at a time.
func BenchmarkSend(b *testing.B) {
	s := newServer(b, newMemory(b))
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	var n atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.must(roomID, text(alice, "hello", fmt.Sprint(n.Add(1))))
		}
	})
}

// BenchmarkActivate is the first message to a resting room with a long history.
func BenchmarkActivate(b *testing.B) {
	store := newMemory(b)
	s := newServer(b, store)
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	for i := range 2000 {
		user := fmt.Sprintf("@u%d:test", i)
		s.must(roomID, change(user, messages.ChangeMembership_JOIN, user))
	}
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		next := newServer(b, store)
		b.StartTimer()
		next.must(roomID, text(alice, "hello", fmt.Sprint(i)))
	}
}
