package appservice

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
)

// fleet is a cluster behind a load balancer.
type fleet struct {
	*world
	nodes []*local.Node
}

func newFleet(t *testing.T, folder string) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	f := &fleet{}
	nodes, balancer := binary.Cluster(ctx, t, "appservices="+folder)
	f.nodes = nodes
	f.world = &world{t: t, ctx: ctx, folder: folder, url: balancer.URL}
	return f
}

// home is the node on which the actor of an application service lives, and another one.
func (f *fleet) home(id string) (home, other *local.Node) {
	f.t.Helper()
	for {
		said := ok[string](f.t)(f.nodes[0].Run(f.ctx, "actors", "list", "--kind", "appservice", "--match", id))
		for i, n := range f.nodes {
			if slices.ContainsFunc(strings.Split(said, "\n"), func(line string) bool {
				fields := strings.Fields(line)
				return len(fields) > 3 && fields[1] == id && fields[2] == n.Name && fields[3] == "active"
			}) {
				return n, f.nodes[(i+1)%len(f.nodes)]
			}
		}
		if f.ctx.Err() != nil {
			f.t.Fatalf("no node has the actor:\n%s", said)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// In a cluster an application service gets everything once and in order too, while the node that its actor lives on is killed, the actor
// is moved, and its node is drained.
func TestCluster(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	f := newFleet(t, folder)
	all := make([]string, 6)
	for i := range all {
		all[i] = f.must(irc, "POST", "/createRoom", "", m{"preset": "public_chat"}).Get("room_id").Str
		ghost := f.ghost(irc, fmt.Sprintf("_irc_%d", i))
		f.must(irc, "POST", "/join/"+all[i], ghost, m{})
	}
	sent := make([][]string, len(all))
	var enough atomic.Bool
	var talking sync.WaitGroup
	talking.Go(func() {
		f.eachRoom(all, func(i int, room string) {
			for n := 0; !enough.Load() && !t.Failed(); n++ {
				sent[i] = append(sent[i], f.insist(irc, "PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d", room, n), fmt.Sprintf("@_irc_%d:localhost", i), m{"body": "x"}))
			}
		})
	})
	// more waits until the bridge has some more transactions.
	more := func(what string) {
		t.Helper()
		irc.mu.Lock()
		before := len(irc.order)
		irc.mu.Unlock()
		irc.until("transactions "+what, func() bool {
			irc.mu.Lock()
			defer irc.mu.Unlock()
			return len(irc.order) >= before+3
		})
	}
	run := func(n *local.Node, args ...string) {
		t.Helper()
		if said, err := n.Run(f.ctx, args...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, said)
		}
	}
	more("at first")
	home, other := f.home("irc")
	run(home, "actors", "move", "appservice/irc", "--to", other.Name)
	more("after the actor was moved")
	home, other = f.home("irc")
	home.Kill()
	more("after its node was killed")
	if err := home.Start(f.ctx); err != nil {
		t.Fatal(err)
	}
	run(other, "actors", "move", "appservice/irc", "--to", "auto")
	home, other = f.home("irc")
	irc.respond(0)
	run(other, "cluster", "drain", home.Name)
	irc.respond(http.StatusOK)
	more("after its node was drained while the bridge was away")
	run(other, "cluster", "drain", home.Name, "--undo")
	enough.Store(true)
	talking.Wait()

	end := f.must(irc, "PUT", "/rooms/"+all[0]+"/send/m.room.message/end", "", m{"body": "x"}).Get("event_id").Str
	sent[0] = append(sent[0], end)
	irc.until("the last event", irc.came(end))
	for i, room := range all {
		var got []string
		for _, e := range irc.got("events") {
			if e.Get("room_id").Str == room && e.Get("type").Str == "m.room.message" {
				got = append(got, e.Get("event_id").Str)
			}
		}
		if !slices.Equal(got, sent[i]) {
			t.Errorf("room %d: %d messages came of %d, or in another order", i, len(got), len(sent[i]))
		}
	}
	t.Logf("%d messages in room 0", len(sent[0]))
}
