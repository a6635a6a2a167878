package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// portsPerSource is how many connections come from one address of this machine: an address has a port for each.
	portsPerSource = 20_000
	// streamsPerConnection is how many requests one connection of HTTP/2 carries, which a server allows a thousand of.
	streamsPerConnection = 900
	// crowdRoom is how many of the connected share a room.
	crowdRoom = 10
)

// connections holds a connection of each of many users who sync, has a few of them talk, and tells what a connection costs, what all do
// when nothing happens, and how soon messages and other answers come.
func connections(ctx context.Context, o *options, s *server) error {
	_, empty, err := s.rss()
	if err != nil {
		return err
	}
	c := &crowd{options: o, server: s}
	begun := time.Now()
	if err := c.gather(ctx); err != nil {
		return err
	}
	report("made users", "%d in %v", o.Idle, time.Since(begun).Round(time.Second))
	held, release := context.WithCancel(ctx)
	defer release()
	if err := c.connect(held); err != nil {
		return err
	}
	if err := c.memory(empty); err != nil {
		return err
	}
	polls := c.polls.Load()
	used, err := s.measured(func() error { return pause(ctx, o.Duration) })
	if err != nil {
		return err
	}
	report("processors busy, nothing said", "%.2f, with %.0f polls a second", used.cores(), used.rate(int(c.polls.Load()-polls)))
	if err := c.talk(ctx); err != nil {
		return err
	}
	if err := c.memory(empty); err != nil {
		return err
	}
	release()
	c.holding.Wait()
	if n := c.failed.Load(); n > 0 {
		return fmt.Errorf("%d syncs failed, the first: %w", n, c.first)
	}
	return nil
}

// crowd is users who sync, each over a connection of its own.
type crowd struct {
	*options
	server  *server
	users   []*client
	tokens  []string
	rooms   []string // each of crowdRoom users in a row
	holding sync.WaitGroup

	polls     atomic.Int64
	failed    atomic.Int64
	once      sync.Once
	first     error
	delivered latencies
}

// gather makes the users and the rooms, and syncs for the first time.
func (c *crowd) gather(ctx context.Context) (err error) {
	if c.users, err = registerMany(ctx, c.server, c.Idle); err != nil {
		return err
	}
	c.rooms = make([]string, min(c.Rooms, c.Idle/crowdRoom))
	if err := parallel(ctx, len(c.rooms), func(ctx context.Context, i int) (err error) {
		members := c.users[i*crowdRoom:][:crowdRoom]
		if c.rooms[i], err = members[0].createRoom(ctx); err != nil {
			return err
		}
		for _, m := range members[1:] {
			err = errors.Join(err, m.join(ctx, c.rooms[i]))
		}
		return err
	}); err != nil {
		return err
	}
	c.tokens = make([]string, c.Idle)
	return parallel(ctx, c.Idle, func(ctx context.Context, i int) error {
		answer, err := c.users[i].sync(ctx, "", 0)
		c.tokens[i] = answer.NextBatch
		return err
	})
}

// connect has all users sync, until ctx ends. Nobody comes faster than a server is come back to after it was restarted.
func (c *crowd) connect(ctx context.Context) error {
	dialers := c.dialers()
	for i, u := range c.users {
		syncing := *u
		syncing.http = dialers(i)
		c.holding.Go(func() { c.hold(ctx, &syncing, i) })
		if i%500 == 499 {
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return pause(ctx, c.Poll) // a user's own coming online is news, and that of those who share a room; after that there is none
}

// dialers gives the connections: each user's own from several addresses, or shared ones as proxies have them.
func (c *crowd) dialers() func(i int) *http.Client {
	var clients []*http.Client
	size := portsPerSource
	if c.HTTP2 {
		size = streamsPerConnection
	}
	for i := range (c.Idle + size - 1) / size {
		t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: size}
		if !c.HTTP2 {
			t.MaxConnsPerHost = min(size, c.Idle-i*size) // a connection that another user left is taken before a new one is opened
		}
		if c.HTTP2 {
			t.Protocols = new(http.Protocols)
			t.Protocols.SetUnencryptedHTTP2(true)
		} else if i > 0 {
			t.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i))}}).DialContext
		}
		clients = append(clients, &http.Client{Transport: t})
	}
	return func(i int) *http.Client { return clients[i/size] }
}

// hold syncs one user until ctx ends.
func (c *crowd) hold(ctx context.Context, u *client, i int) {
	var room string
	if i/crowdRoom < len(c.rooms) {
		room = c.rooms[i/crowdRoom]
	}
	poll := int(c.Poll.Milliseconds())
	// The first syncs end at any time, as those of people do who came one by one.
	for at, wait := c.tokens[i], 1+rand.IntN(poll); ; wait = poll { //nolint:gosec // no secret
		answer, err := u.sync(ctx, at, wait)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.failed.Add(1)
			c.once.Do(func() { c.first = err })
			return
		}
		c.polls.Add(1)
		answer.delivered(room, &c.delivered)
		at = answer.NextBatch
	}
}

// talk sends messages at the rate, and asks other things as often.
func (c *crowd) talk(ctx context.Context) error {
	rate := c.Rate
	if rate == 0 {
		rate = 50
	}
	var sent, asked latencies
	n := int(rate * c.Duration.Seconds())
	used, err := c.server.profiled(ctx, c.options, func() error {
		begun := time.Now()
		return parallel(ctx, 2*n, func(ctx context.Context, i int) error {
			if err := pause(ctx, time.Until(begun.Add(time.Duration(float64(i/2)/rate*float64(time.Second))))); err != nil {
				return err
			}
			of := i / 2 % max(len(c.rooms), 1)
			if u := c.users[of*crowdRoom]; i%2 == 0 && len(c.rooms) > 0 {
				return sent.of(func() error { return u.send(ctx, c.rooms[of], "c"+strconv.Itoa(i), timedMessage()) })
			}
			u := c.users[(i*7919)%c.Idle]
			return asked.of(func() error { return u.call(ctx, http.MethodGet, "/v3/profile/"+url.PathEscape(u.userID), nil, nil) })
		})
	})
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	sent.print("time to acknowledge")
	c.delivered.print(fmt.Sprintf("send to receipt by %d members", crowdRoom))
	asked.print("time to another answer")
	report("processors busy, talking", "%.2f", used.cores())
	return nil
}

// memory prints what the server has for each connection beyond what it had when it was empty.
func (c *crowd) memory(empty int64) error {
	_, now, err := c.server.rss()
	if err != nil {
		return err
	}
	peak, err := c.server.peak()
	if err != nil {
		return err
	}
	m, err := c.server.metrics(c.server.urls[0])
	if err != nil {
		return err
	}
	each := func(bytes float64) float64 { return bytes / 1000 / float64(c.Idle) }
	report(fmt.Sprintf("memory of one of %d", c.Idle), "%.1f kB: %.1f heap in use, %.1f stacks; %.1f goroutines", each(float64(now-empty)),
		each(m["go_memstats_heap_inuse_bytes"]), each(m["go_memstats_stack_inuse_bytes"]), m["go_goroutines"]/float64(c.Idle))
	report("memory of the server", "%.0f MB, most %.0f MB; %.0f requests in flight", float64(now)/1e6, float64(peak)/1e6, m["matrixon_http_requests_in_flight"])
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
