package cluster

import (
	"context"
	"flag"
	"testing"
	"time"
)

// How much is broken, and how well it must be borne. The bounds are for machines that do other things too; those of the
// product, 5 s, 1 s and 500 ms, are what `make faults` holds a quiet machine to.
var (
	rounds        = flag.Int("rounds", 0, "break every part alone, this often, each time with people of its own; 0: all parts one after the other, once")
	only          = flag.String("fault", "", "break only what has this name")
	backWithin    = flag.Duration("back-within", 30*time.Second, "how soon the rooms of a node that died must be served again")
	revokedWithin = flag.Duration("revoked-within", 10*time.Second, "how soon every node must refuse a token that was revoked")
	heldWithin    = flag.Duration("held-within", 10*time.Second, "how long a planned change may hold a request")
)

// fault is one way in which a cluster breaks, or is changed by its operator.
type fault struct {
	name string
	// planned: it must fail no request.
	planned bool
	do      func(context.Context, *fleet, *workload)
}

var faults = []fault{
	{name: "the owner of a room is killed", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		f.serveFrom(m)
		at := time.Now()
		m.Kill()
		if took := f.served(l, at); took > *backWithin {
			f.t.Errorf("its rooms were served again after %v", took)
		} else {
			f.t.Logf("its rooms were served again after %v", took)
		}
		f.start(ctx, m)
	}},
	{name: "the owner of a room is paused for 10 seconds", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		if err := m.Pause(); err != nil {
			f.t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := m.Resume(); err != nil {
			f.t.Fatal(err)
		}
	}},
	{name: "a node is cut off from Consul", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		m.toConsul.Pull()
		time.Sleep(8 * time.Second)
		m.toConsul.Mend()
	}},
	{name: "a node is cut off from Postgres", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		m.toPostgres.Pull()
		time.Sleep(6 * time.Second)
		m.toPostgres.Mend()
	}},
	{name: "a node is cut off from its peers", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		m.fromPeers.Pull()
		for _, other := range f.members {
			if other != m {
				other.fromPeers.PullFrom(m.Process().PID())
			}
		}
		time.Sleep(6 * time.Second)
		for _, each := range f.members {
			each.fromPeers.Mend()
		}
	}},
	{name: "a node is not reached by its peers", do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		m.fromPeers.Pull()
		time.Sleep(6 * time.Second)
		m.fromPeers.Mend()
	}},
	{name: "Consul is stopped, wiped and started again", do: func(ctx context.Context, f *fleet, _ *workload) {
		f.consul.Stop()
		time.Sleep(5 * time.Second)
		if err := f.consul.Start(ctx); err != nil {
			f.t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
	}},
	{name: "Postgres is killed and started again", do: func(ctx context.Context, f *fleet, _ *workload) {
		f.postgres.Kill()
		time.Sleep(2 * time.Second)
		if err := f.postgres.Start(ctx); err != nil {
			f.t.Fatal(err)
		}
	}},
	{name: "a node is added", planned: true, do: func(ctx context.Context, f *fleet, _ *workload) { f.add(ctx) }},
	{name: "rooms are moved", planned: true, do: func(ctx context.Context, f *fleet, l *workload) {
		for i, roomID := range l.rooms {
			to := f.members[i%len(f.members)].Name
			if out, err := f.members[0].Run(ctx, "actors", "move", roomID, "--to", to); err != nil {
				f.t.Error(err)
			} else {
				f.t.Logf("%s", out)
			}
		}
	}},
	{name: "a node is drained", planned: true, do: func(ctx context.Context, f *fleet, l *workload) {
		m := f.owner(ctx, l)
		if out, err := f.members[0].Run(ctx, "cluster", "drain", m.Name); err != nil {
			f.t.Error(err)
		} else {
			f.t.Logf("%s", out)
		}
		f.pause()
		if _, err := f.members[0].Run(ctx, "cluster", "drain", m.Name, "--undo"); err != nil {
			f.t.Error(err)
		}
	}},
	{name: "every node is restarted, one after the other", planned: true, do: func(ctx context.Context, f *fleet, _ *workload) {
		for _, m := range f.members {
			f.serveFrom(m) // as a load balancer does when the node says that it is not ready
			m.Stop()
			f.start(ctx, m)
			f.pause()
		}
	}},
	{name: "a node leaves for good", planned: true, do: func(_ context.Context, f *fleet, _ *workload) {
		m := f.members[len(f.members)-1]
		f.serveFrom(m)
		m.Stop()
		f.members = f.members[:len(f.members)-1]
	}},
}

// strike has the fault happen, and wants everything to be served afterwards.
func (f *fleet) strike(ctx context.Context, l *workload, one fault) {
	f.t.Helper()
	f.pause()
	f.t.Log(one.name)
	if !one.planned {
		one.do(ctx, f, l)
		f.t.Logf("all rooms are served %v later", f.served(l, time.Now()).Round(time.Millisecond))
		f.ready(ctx)
		return
	}
	f.web.failures.Store(0)
	from := time.Now()
	one.do(ctx, f, l)
	f.pause()
	if n := f.web.failures.Load(); n > 0 {
		f.t.Errorf("%s: that failed %d requests, the last: %v", one.name, n, f.web.lastFail.Load())
	}
	held, at := l.slowest(from, time.Now())
	f.t.Logf("the slowest request took %v, from %s on", held, at.UTC().Format("15:04:05.000"))
	if held > *heldWithin {
		f.t.Errorf("%s: a request took %v", one.name, held)
	}
}

// TestFaults breaks a cluster in one way after the other while people use it, and holds the record of what they were told against
// what is there.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+*rounds)*12*time.Minute)
	defer cancel()
	if *rounds == 0 {
		f.allAtOnce(ctx)
	}
	for range *rounds {
		for _, i := range f.rng.Perm(len(faults)) {
			if one := faults[i]; *only == "" || *only == one.name {
				f.alone(ctx, one)
			}
		}
	}
}

// allAtOnce has people live through everything: first what nobody wants, in any order, then what operators do.
func (f *fleet) allAtOnce(ctx context.Context) {
	f.t.Helper()
	l := begin(f.t, f.web)
	var unplanned, planned []fault
	for _, one := range faults {
		switch {
		case *only != "" && *only != one.name:
		case one.planned:
			planned = append(planned, one)
		default:
			unplanned = append(unplanned, one)
		}
	}
	f.rng.Shuffle(len(unplanned), func(i, j int) { unplanned[i], unplanned[j] = unplanned[j], unplanned[i] })
	for _, one := range unplanned {
		f.strike(ctx, l, one)
	}
	for _, one := range planned {
		f.strike(ctx, l, one)
	}
	l.end()
	l.check()
	f.checkJournals(ctx)
}

// alone has other people live through one fault.
func (f *fleet) alone(ctx context.Context, one fault) {
	f.t.Helper()
	for len(f.members) < 3 {
		f.add(ctx)
	}
	l := begin(f.t, f.web)
	f.strike(ctx, l, one)
	l.end()
	l.check()
	f.checkJournals(ctx)
}
