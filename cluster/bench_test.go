package cluster

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/matrixon/matrixon/messages"
)

func BenchmarkAsk(b *testing.B) {
	n := startNode(b, Options{}, Kind{New: func(Identity) Behavior { return &script{} }})
	ctx := deadline(b)
	request := &messages.SendEvent{}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := n.Ask(ctx, room("!a"), request); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 callers of one", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := n.Ask(ctx, room("!a"), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("64 callers of 1000", func(b *testing.B) {
		ids := make([]Identity, 1000)
		for i := range ids {
			ids[i] = room(fmt.Sprint("!", i))
		}
		var next atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := n.Ask(ctx, ids[next.Add(1)%1000], request); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkAskElsewhere is what a request costs that lands on another node than the one its actor lives on.
func BenchmarkAskElsewhere(b *testing.B) {
	f := newFleet(b, "a", "b")
	ctx := deadline(b)
	var away []Identity
	for i := 0; len(away) < 64; i++ {
		if id := roomID(i); f.nodes["a"].Owner(id) == "b" {
			f.ask("a", id)
			away = append(away, id)
		}
	}
	request := &messages.SendEvent{By: &messages.Requester{UserId: "@alice:example.org", DeviceId: "D"}, Event: &messages.Proposal{Type: "m.room.message", Content: make([]byte, 1000)}}
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	cpu := processTime()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.nodes["a"].Ask(ctx, away[next.Add(1)%int64(len(away))], request); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((processTime()-cpu).Microseconds())/float64(b.N), "CPU-µs/op")
}

func BenchmarkTellActive(b *testing.B) {
	n := startNode(b, Options{}, Kind{Notices: 1 << 30, New: func(Identity) Behavior { return &script{} }})
	if _, err := n.Ask(deadline(b), room("!a"), &messages.Done{}); err != nil {
		b.Fatal(err)
	}
	notice := &messages.RoomNotice{}
	b.ReportAllocs()
	for b.Loop() {
		if !n.TellActive(room("!a"), notice) {
			b.Fatal("not active")
		}
	}
}

// empty is a behaviour without memory of its own, so that what is measured is the node's.
type empty struct{ script }

var nothing = &empty{}

// BenchmarkIdle is 200,000 actors that are activated, stand idle, and are put to rest.
func BenchmarkIdle(b *testing.B) {
	const actors = 200_000
	for b.Loop() {
		n := startNode(b, Options{Passivations: 20_000}, Kind{IdleAfter: 20 * time.Second, New: func(Identity) Behavior { return nothing }})
		before := heapBytes()
		start := time.Now()
		ctx := deadline(b)
		for i := range actors {
			n.Tell(room(fmt.Sprint("!", i, ":example.org")), &messages.Done{})
			if i%100 == 0 {
				if _, err := n.Ask(ctx, room(fmt.Sprint("!", i, ":example.org")), &messages.Done{}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(actors)/time.Since(start).Seconds(), "activations/s")
		b.ReportMetric(float64(heapBytes()-before)/actors, "B/actor")

		cpu, start := processTime(), time.Now()
		time.Sleep(5 * time.Second)
		b.ReportMetric(100*(processTime()-cpu).Seconds()/time.Since(start).Seconds(), "idle-CPU%")

		cpu = processTime()
		var worst time.Duration
		for asked := 1; ; asked++ {
			began := time.Now()
			if _, err := n.Ask(deadline(b), room(fmt.Sprint("!other", asked%10)), &messages.Done{}); err != nil {
				b.Fatal(err)
			}
			worst = max(worst, time.Since(began))
			time.Sleep(5 * time.Millisecond)
			if asked%200 == 0 && n.countActive()[KindRoom] <= 10 {
				break
			}
		}
		b.ReportMetric((processTime()-cpu).Seconds()*1e6/actors, "rest-CPU-µs/actor")
		b.ReportMetric(float64(worst.Microseconds()), "worst-ask-µs")
	}
}

// BenchmarkStop is a node with 200,000 idle actors that stops.
func BenchmarkStop(b *testing.B) {
	const actors = 200_000
	for b.Loop() {
		b.StopTimer()
		n := startNode(b, Options{}, Kind{New: func(Identity) Behavior { return nothing }})
		for i := range actors {
			n.Tell(room(fmt.Sprint("!", i)), &messages.Done{})
		}
		b.StartTimer()
		if err := n.Stop(deadline(b)); err != nil {
			b.Fatal(err)
		}
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
