package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// latencies collects how long things took.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, d)
	l.mu.Unlock()
}

func (l *latencies) print(what string) {
	slices.Sort(l.all)
	if len(l.all) == 0 {
		fmt.Printf("%-34s none\n", what)
		return
	}
	at := func(p float64) time.Duration { return l.all[int(p*float64(len(l.all)-1))].Round(10 * time.Microsecond) }
	fmt.Printf("%-34s n %d  p50 %v  p95 %v  p99 %v  max %v\n", what, len(l.all), at(.5), at(.95), at(.99), at(1))
}

// cost prints what the server used between two readings, for each of n events.
func cost(before, after usage, n int) {
	fmt.Printf("%-34s %.3f ms CPU, %.0f allocations, %.1f kB allocated\n", "server per event",
		float64((after.cpu-before.cpu).Microseconds())/1000/float64(n), (after.mallocs-before.mallocs)/float64(n), (after.bytes-before.bytes)/1000/float64(n))
}

// send measures acknowledged, durable sends into many rooms.
func send(ctx context.Context, o *options, s *server) error {
	clients, err := registerMany(ctx, s, o.Rooms)
	if err != nil {
		return err
	}
	rooms := make([]string, o.Rooms)
	if err := parallel(ctx, o.Rooms, func(ctx context.Context, i int) (err error) {
		if rooms[i], err = clients[i].createRoom(ctx); err != nil {
			return err
		}
		return clients[i].place(ctx, o.At, rooms[i])
	}); err != nil {
		return err
	}
	if err := sendFor(ctx, o, o.Warm, "w", clients, rooms, new(latencies)); err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- profile(ctx, o, s) }()
	var taken latencies
	begun := time.Now()
	if err := sendFor(ctx, o, o.Duration, "t", clients, rooms, &taken); err != nil {
		return err
	}
	elapsed := time.Since(begun)
	after, err := s.usage()
	if err != nil {
		return err
	}
	fmt.Printf("%-34s %.0f/s\n", fmt.Sprintf("acknowledged sends, %d rooms", o.Rooms), float64(len(taken.all))/elapsed.Seconds())
	taken.print("time to acknowledge")
	cost(before, after, len(taken.all))
	return <-profiled
}

// sendFor has all senders send for so long, each transaction with an id that begins with txn. With a rate they take turns.
func sendFor(ctx context.Context, o *options, d time.Duration, txn string, clients []*client, rooms []string, taken *latencies) error {
	timed, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	begun := time.Now()
	var g errgroup.Group
	for i := range o.Senders {
		g.Go(func() error {
			for n := 0; ; n++ {
				if o.Rate > 0 {
					turn := begun.Add(time.Duration(float64(n*o.Senders+i) / o.Rate * float64(time.Second)))
					select {
					case <-time.After(time.Until(turn)):
					case <-timed.Done():
					}
				}
				if timed.Err() != nil {
					return ctx.Err()
				}
				at := time.Now()
				if err := clients[i%o.Rooms].send(ctx, rooms[i%o.Rooms], fmt.Sprintf("%s%d-%d", txn, i, n), message); err != nil {
					return err
				}
				taken.add(time.Since(at))
			}
		})
	}
	return g.Wait()
}

// profile fetches a CPU profile of every node, through its administration socket, if they were asked for.
func profile(ctx context.Context, o *options, s *server) error {
	if o.Profile == "" {
		return nil
	}
	return parallel(ctx, len(s.data), func(ctx context.Context, i int) error {
		resp, err := s.admin(ctx, i, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(o.Duration.Seconds())))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		name := o.Profile
		if i > 0 {
			name += "." + strconv.Itoa(i+1)
		}
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, resp.Body); err != nil {
			return err
		}
		return f.Close()
	})
}

// fanout measures how long it takes until the syncing members of a room have an event.
func fanout(ctx context.Context, o *options, s *server) error {
	members, err := registerMany(ctx, s, o.Members+1)
	if err != nil {
		return err
	}
	sender := members[o.Members]
	room, err := sender.createRoom(ctx)
	if err != nil {
		return err
	}
	if err := parallel(ctx, o.Members, func(ctx context.Context, i int) error { return members[i].join(ctx, room) }); err != nil {
		return err
	}
	const events, pace = 200, 20 * time.Millisecond
	var delivered latencies
	var ready sync.WaitGroup
	ready.Add(o.Members)
	var g errgroup.Group
	for _, m := range members[:o.Members] {
		g.Go(func() error { return receive(ctx, m, room, events, &ready, &delivered) })
	}
	ready.Wait()
	before, err := s.usage()
	if err != nil {
		return err
	}
	for n := range events {
		content := map[string]any{"msgtype": "m.text", "body": "hello", "sent_at": time.Now().UnixMicro()}
		if err := sender.send(ctx, room, "f"+strconv.Itoa(n), content); err != nil {
			return err
		}
		time.Sleep(pace)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	delivered.print(fmt.Sprintf("send to receipt by %d members", o.Members))
	cost(before, after, len(delivered.all))
	return nil
}

// receive syncs until all events have come.
func receive(ctx context.Context, m *client, room string, events int, ready *sync.WaitGroup, delivered *latencies) error {
	at, err := m.sync(ctx, "", 0)
	ready.Done()
	for got := 0; got < events && err == nil; {
		if at, err = m.sync(ctx, at.NextBatch, 30_000); err != nil {
			break
		}
		for _, e := range at.Rooms.Join[room].Timeline.Events {
			if e.Content.SentAt != 0 {
				delivered.add(time.Since(time.UnixMicro(e.Content.SentAt)))
				got++
			}
		}
	}
	return err
}

// initialSync measures the first sync of a user in a hundred rooms.
func initialSync(ctx context.Context, _ *options, s *server) error {
	const rooms, syncs = 100, 20
	owners, err := registerMany(ctx, s, 10)
	if err != nil {
		return err
	}
	user, err := register(ctx, s)
	if err != nil {
		return err
	}
	if err := parallel(ctx, rooms, func(ctx context.Context, i int) error {
		owner := owners[i%len(owners)]
		room, err := owner.createRoom(ctx)
		if err != nil {
			return err
		}
		if err := user.join(ctx, room); err != nil {
			return err
		}
		for n := range 20 {
			if err := owner.send(ctx, room, fmt.Sprintf("i%d-%d", i, n), message); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var taken latencies
	for range syncs {
		at := time.Now()
		answer, err := user.sync(ctx, "", 0)
		if err != nil {
			return err
		}
		if len(answer.Rooms.Join) != rooms {
			return fmt.Errorf("the sync shows %d rooms of %d", len(answer.Rooms.Join), rooms)
		}
		taken.add(time.Since(at))
	}
	taken.print(fmt.Sprintf("first sync in %d rooms", rooms))
	return nil
}

// join measures joins of one public room.
func join(ctx context.Context, _ *options, s *server) error {
	const joins = 300
	users, err := registerMany(ctx, s, joins+1)
	if err != nil {
		return err
	}
	room, err := users[joins].createRoom(ctx)
	if err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	var taken latencies
	if err := parallel(ctx, joins, func(ctx context.Context, i int) error {
		at := time.Now()
		err := users[i].join(ctx, room)
		taken.add(time.Since(at))
		return err
	}); err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	taken.print("joins of one room")
	cost(before, after, joins)
	return nil
}

// idle measures the memory of connections that sync and hear nothing.
func idle(ctx context.Context, o *options, s *server) error {
	users, err := registerMany(ctx, s, o.Idle)
	if err != nil {
		return err
	}
	tokens := make([]string, o.Idle)
	if err := parallel(ctx, o.Idle, func(ctx context.Context, i int) error {
		answer, err := users[i].sync(ctx, "", 0)
		tokens[i] = answer.NextBatch
		return err
	}); err != nil {
		return err
	}
	s.http.CloseIdleConnections()
	time.Sleep(time.Second)
	_, before, err := s.rss()
	if err != nil {
		return err
	}
	held, release := context.WithCancel(ctx)
	defer release()
	var answered atomic.Int64
	var g sync.WaitGroup
	for i, u := range users {
		g.Go(func() {
			// A user's own coming online is news; after that there is none.
			for at := tokens[i]; held.Err() == nil; answered.Add(1) {
				answer, err := u.sync(held, at, 120_000)
				if err != nil {
					return // the connection was given up
				}
				at = answer.NextBatch
			}
		})
	}
	settled := int64(-1)
	for n := answered.Load(); n != settled; n = answered.Load() {
		settled = n
		time.Sleep(2 * time.Second)
	}
	_, after, err := s.rss()
	if err != nil {
		return err
	}
	fmt.Printf("%-34s %.1f kB\n", fmt.Sprintf("memory of one of %d idle syncs", o.Idle), float64(after-before)/1000/float64(o.Idle))
	release()
	g.Wait()
	return nil
}
