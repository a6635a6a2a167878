package user_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/pebble"
)

// BenchmarkIdleUsers is 200,000 users over a store on disk who sync once, stand idle and are put to rest. Meanwhile others come:
// what matters is how long the unluckiest of them has to wait for an activation. It takes some minutes; -benchtime 1x is enough.
func BenchmarkIdleUsers(b *testing.B) {
	const users, idleAfter = 200_000, 90 * time.Second
	for b.Loop() {
		store, err := pebble.Open(pebble.Options{Dir: b.TempDir(), CacheBytes: 32 << 20, MemtableBytes: 16 << 20, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		n := cluster.NewNode(cluster.Options{Name: "a", Logger: slog.New(slog.DiscardHandler)})
		h := hub.New(n)
		store.Follow(h.Publish)
		if err := n.Register(cluster.Kind{Name: cluster.KindUser, Bound: 1024, IdleAfter: idleAfter,
			New: user.New(user.Deps{Store: store, Hub: h, Now: time.Now, Log: slog.New(slog.DiscardHandler)})}); err != nil {
			b.Fatal(err)
		}
		before := heap()
		begun, cpu := time.Now(), processTime()
		stop := make(chan struct{})
		waking := others(n, "early", stop)
		var all errgroup.Group
		all.SetLimit(64)
		for i := range users {
			all.Go(func() error { return hello(n, fmt.Sprintf("@user%d:example.org", i)) })
		}
		if err := all.Wait(); err != nil {
			b.Fatal(err)
		}
		close(stop)
		b.ReportMetric(users/time.Since(begun).Seconds(), "activations/s")
		b.ReportMetric(float64((processTime()-cpu).Microseconds())/users, "activation-CPU-µs")
		b.ReportMetric(float64((<-waking).Microseconds())/1000, "slowest-while-waking-ms")
		b.ReportMetric(float64(heap()-before)/users, "B/user")

		for active(n) > users/2 { // the first have begun to rest
			time.Sleep(time.Second)
		}
		begun, cpu = time.Now(), processTime()
		from := active(n)
		stop = make(chan struct{})
		resting := others(n, "late", stop)
		for active(n) > users/20 {
			time.Sleep(time.Second)
		}
		close(stop)
		rested := float64(from - active(n))
		b.ReportMetric(rested/time.Since(begun).Seconds(), "rests/s")
		b.ReportMetric(float64((processTime()-cpu).Microseconds())/rested, "rest-CPU-µs")
		b.ReportMetric(float64((<-resting).Microseconds())/1000, "slowest-while-resting-ms")
		if err := errors.Join(n.Stop(context.Background()), store.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

// hello is the cheapest question that wakes a user's actor: a sync that does not wait.
func hello(n *cluster.Node, userID string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := cluster.Ask[*messages.SyncPlan](ctx, n, cluster.Identity{Kind: cluster.KindUser, ID: userID}, &messages.SyncAsk{
		By: &messages.Requester{UserId: userID, DeviceId: "D"}, SetPresence: "offline"})
	return err
}

// others wakes one more user after the other until stop is closed, and gives the longest that one of them waited.
func others(n *cluster.Node, name string, stop <-chan struct{}) <-chan time.Duration {
	slowest := make(chan time.Duration, 1)
	go func() {
		var worst time.Duration
		for i := 0; ; i++ {
			select {
			case <-stop:
				slowest <- worst
				return
			case <-time.After(5 * time.Millisecond):
			}
			at := time.Now()
			if err := hello(n, fmt.Sprintf("@%s%d:example.org", name, i)); err != nil {
				worst = time.Hour
			}
			worst = max(worst, time.Since(at))
		}
	}()
	return slowest
}

func active(n *cluster.Node) int { return len(n.Actors(cluster.Filter{Kind: cluster.KindUser})) }

func heap() int64 {
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
