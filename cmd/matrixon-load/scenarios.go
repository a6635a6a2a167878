package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

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
	var taken latencies
	used, err := s.profiled(ctx, o, func() error { return sendFor(ctx, o, o.Duration, "t", clients, rooms, &taken) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("acknowledged sends, %d rooms", o.Rooms), "%.0f/s", used.rate(len(taken.all)))
	taken.print("time to acknowledge")
	used.each(len(taken.all))
	return nil
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
				if err := taken.of(func() error {
					return clients[i%o.Rooms].send(ctx, rooms[i%o.Rooms], fmt.Sprintf("%s%d-%d", txn, i, n), message)
				}); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
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
	used, err := s.measured(func() error {
		for n := range events {
			if err := sender.send(ctx, room, "f"+strconv.Itoa(n), timedMessage()); err != nil {
				return err
			}
			time.Sleep(pace)
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	delivered.print(fmt.Sprintf("send to receipt by %d members", o.Members))
	used.each(len(delivered.all))
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
		got += at.delivered(room, delivered)
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
		if err := taken.of(func() error {
			answer, err := user.sync(ctx, "", 0)
			if err == nil && len(answer.Rooms.Join) != rooms {
				err = fmt.Errorf("the sync shows %d rooms of %d", len(answer.Rooms.Join), rooms)
			}
			return err
		}); err != nil {
			return err
		}
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
	var taken latencies
	used, err := s.measured(func() error {
		return parallel(ctx, joins, func(ctx context.Context, i int) error {
			return taken.of(func() error { return users[i].join(ctx, room) })
		})
	})
	if err != nil {
		return err
	}
	taken.print("joins of one room")
	used.each(joins)
	return nil
}
