package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
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

// of runs f and adds how long it took, unless it failed.
func (l *latencies) of(f func() error) error {
	at := time.Now()
	err := f()
	if err == nil {
		l.add(time.Since(at))
	}
	return err
}

func (l *latencies) print(what string) {
	slices.Sort(l.all)
	if len(l.all) == 0 {
		report(what, "none")
		return
	}
	at := func(p float64) time.Duration { return l.all[int(p*float64(len(l.all)-1))].Round(10 * time.Microsecond) }
	report(what, "n %d  p50 %v  p95 %v  p99 %v  max %v", len(l.all), at(.5), at(.95), at(.99), at(1))
}

// report prints one figure.
func report(what, format string, figures ...any) {
	fmt.Printf("%-34s %s\n", what, fmt.Sprintf(format, figures...))
}

// spent is what something took: time, and what the server used meanwhile.
type spent struct {
	took time.Duration
	usage
}

// measured runs f and gives what it took.
func (s *server) measured(f func() error) (spent, error) {
	before, err := s.usage()
	if err != nil {
		return spent{}, err
	}
	begun := time.Now()
	if err := f(); err != nil {
		return spent{}, err
	}
	took := time.Since(begun)
	after, err := s.usage()
	return spent{took, after.since(before)}, err
}

// profiled is measured with a CPU profile of what f does, if one was asked for.
func (s *server) profiled(ctx context.Context, o *options, f func() error) (spent, error) {
	profiles := make(chan error, 1)
	go func() { profiles <- profile(ctx, o, s) }()
	used, err := s.measured(f)
	if err != nil {
		return spent{}, err
	}
	return used, <-profiles
}

// each prints what the server used for each of n events.
func (u spent) each(n int) {
	report("server per event", "%.3f ms CPU, %.0f allocations, %.1f kB allocated",
		float64(u.cpu.Microseconds())/1000/float64(n), u.mallocs/float64(n), u.bytes/1000/float64(n))
}

// rate is how many of n there were in a second.
func (u spent) rate(n int) float64 { return float64(n) / u.took.Seconds() }

// cores is how many processors the server kept busy.
func (u spent) cores() float64 { return u.cpu.Seconds() / u.took.Seconds() }

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
