// Package kill kills the real server at random moments, again and again, while clients use it, and holds what they see
// against what it has acknowledged; and it damages what a killed server leaves.
package kill

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

const (
	manyRooms   = 12
	manySenders = 8
)

// number reads a number from the environment: KILL_SEED repeats a run's choices, KILLS makes it
// longer or shorter.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKills(t *testing.T) {
	t.Parallel()
	seed := number(t, "KILL_SEED", uint64(time.Now().UnixNano()))
	kills := int(number(t, "KILLS", 50))
	t.Logf("KILL_SEED=%d", seed)
	random := func(of uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, of)) }

	server := binary.Start(t)
	g := newGate()
	g.open()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	w := newWorld(ctx, t, &matrixclient.Client{URL: server.URL, HTTP: &http.Client{Transport: g}}, random)

	stop := make(chan struct{})
	work, ctx := errgroup.WithContext(ctx)
	senders, sending := errgroup.WithContext(ctx)
	for _, s := range w.senders {
		senders.Go(func() error { return s.run(sending, stop) })
	}
	work.Go(func() error {
		if err := senders.Wait(); err != nil {
			return err
		}
		return w.mark(ctx)
	})
	for _, reader := range w.watchers {
		work.Go(func() error { return reader.run(ctx) })
	}
	work.Go(func() error { return w.auditor.run(ctx, g, stop) })

	killing := time.Now()
	rng := random(0)
	for killed := 0; killed < kills && ctx.Err() == nil; killed++ {
		<-time.After(time.Duration(30+rng.IntN(371)) * time.Millisecond)
		g.close()
		server.Kill()
		if rng.IntN(5) == 0 { // and again while it starts
			server.RunBriefly(time.Duration(1+rng.IntN(150)) * time.Millisecond)
		}
		server.Run()
		g.open()
	}
	close(stop)
	if err := work.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, tail(server.Log()))
	}
	t.Logf("%d kills in %v, %d acknowledged events, %d audits", kills, time.Since(killing), len(w.ledger.events), w.auditor.audits)
	for _, reader := range w.watchers {
		t.Logf("%s filled %d gaps and used %d old tokens", reader.UserID, reader.gaps, reader.replays)
	}
	w.check(t.Context(), t)
}

// tail is the end of a text.
func tail(text string) string { return text[max(0, len(text)-4000):] }
