package cluster

import (
	"context"
	"os"
	"testing"
	"time"
)

// backWithin is how soon the rooms of a node that died must be served again: 5 s on a machine that does nothing else,
// for which CLUSTER_TEST_BACK_WITHIN=5s holds it to that.
const backWithin = 30 * time.Second

// TestFaults breaks a cluster in one way after the other while people use it, and then holds the record of what they were
// told against what is there.
func TestFaults(t *testing.T) {
	t.Parallel()
	within := backWithin
	if text := os.Getenv("CLUSTER_TEST_BACK_WITHIN"); text != "" {
		var err error
		if within, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(t, 3)
	l := begin(t, f.web)
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	unplanned := []struct {
		name string
		do   func()
	}{
		{"a node is killed", func() {
			m := f.some()
			f.serveFrom(m)
			at := time.Now()
			m.Kill()
			if took := f.served(l, at); took > within {
				t.Errorf("its rooms were served again after %v", took)
			} else {
				t.Logf("its rooms were served again after %v", took)
			}
			f.start(ctx, m)
		}},
		{"a node is paused for 10 seconds", func() {
			m := f.some()
			if err := m.Pause(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if err := m.Resume(); err != nil {
				t.Fatal(err)
			}
		}},
		{"a node is cut off from Consul", func() {
			m := f.some()
			m.toConsul.Pull()
			time.Sleep(8 * time.Second)
			m.toConsul.Mend()
		}},
		{"a node is cut off from Postgres", func() {
			m := f.some()
			m.toPostgres.Pull()
			time.Sleep(6 * time.Second)
			m.toPostgres.Mend()
		}},
		{"a node is cut off from its peers", func() {
			m := f.some()
			m.fromPeers.Pull()
			time.Sleep(6 * time.Second)
			m.fromPeers.Mend()
		}},
		{"Consul is stopped, wiped and started again", func() {
			f.consul.Stop()
			time.Sleep(5 * time.Second)
			if err := f.consul.Start(ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}},
		{"Postgres is killed and started again", func() {
			f.postgres.Kill()
			time.Sleep(2 * time.Second)
			if err := f.postgres.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}},
	}
	f.rng.Shuffle(len(unplanned), func(i, j int) { unplanned[i], unplanned[j] = unplanned[j], unplanned[i] })
	for _, fault := range unplanned {
		f.pause()
		t.Log(fault.name)
		fault.do()
		f.served(l, time.Now())
	}
	f.pause()

	// What operators do fails nothing.
	for _, m := range f.members {
		for m.Ready(ctx) != nil && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
	f.web.failures.Store(0)
	t.Log("a node is added")
	f.add(ctx)
	f.pause()
	t.Log("rooms are moved")
	for i, roomID := range l.rooms {
		to := f.members[i%len(f.members)].Name
		if out, err := f.members[0].Run(ctx, "actors", "move", roomID, "--to", to); err != nil {
			t.Error(err)
		} else {
			t.Log(out)
		}
	}
	t.Log("a node is drained")
	if out, err := f.members[0].Run(ctx, "cluster", "drain", f.members[1].Name); err != nil {
		t.Error(err)
	} else {
		t.Log(out)
	}
	f.pause()
	if _, err := f.members[0].Run(ctx, "cluster", "drain", f.members[1].Name, "--undo"); err != nil {
		t.Error(err)
	}
	t.Log("every node is restarted, one after the other")
	for _, m := range f.members {
		f.serveFrom(m) // as a load balancer does when the node says that it is not ready
		m.Stop()
		f.start(ctx, m)
		f.pause()
	}
	if n := f.web.failures.Load(); n > 0 {
		t.Errorf("planned changes failed %d requests, the last: %v", n, f.web.lastFail.Load())
	}
	l.end()
	l.check()
	f.checkJournals(ctx)
}
