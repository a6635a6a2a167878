package federation

import (
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

var rounds = flag.Int("rounds", 2, "how often the servers of TestKilledServersLoseNothing are killed")

// TestKilledServersLoseNothing: every event that a server has acknowledged reaches another one, which takes it in once, whichever of them
// is killed meanwhile; and it reaches a third one that is hard to speak to.
func TestKilledServersLoseNothing(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	v, _ := roomversion.Get(roomversion.Default)
	record := newRecorder(t, authority.Stranger(t), v)
	servers := authority.Start(2, "limits.enabled=false", "federation.retry_longest=1s")
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	roomID := alice.create(J{"preset": "public_chat"})
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	record.Handshake(servers[0], roomID, "@clerk:"+record.Name, v)

	acknowledged := map[string]bool{}
	began := time.Now()
	for round := range *rounds {
		// The other server is away, and what is said waits; the sender is killed while more is being said.
		servers[1].Kill()
		for i := range 10 {
			acknowledged[alice.say(roomID, fmt.Sprint("away ", round, " ", i))] = true
		}
		kill := sync.OnceFunc(servers[0].Kill)
		enough := len(acknowledged) + 40
		var mu sync.Mutex
		var talking sync.WaitGroup
		for i := range 8 {
			talking.Go(func() {
				for n := range 50 {
					id, err := alice.Send(t.Context(), roomID, "m.room.message", fmt.Sprint("k", round, "-", i, "-", n), J{"msgtype": "m.text", "body": "?"})
					if err != nil {
						return // the server is dead
					}
					mu.Lock()
					acknowledged[id] = true
					reached := len(acknowledged) >= enough
					mu.Unlock()
					if reached {
						kill()
						return
					}
				}
			})
		}
		talking.Wait()
		kill()
		servers[1].Run()
		servers[0].Run()
		last := alice.say(roomID, "both are back")
		acknowledged[last] = true
		bob.sees(roomID, last)
		seen := history(bob, roomID)
		for id := range acknowledged {
			if seen[id] != 1 {
				bob.eventually("event "+id, func() bool { return history(bob, roomID)[id] == 1 })
			}
		}
	}
	for id, n := range history(bob, roomID) {
		if n != 1 {
			t.Errorf("the event %s came %d times", id, n)
		}
	}
	record.wait(acknowledged)
	record.checkOrder()
	t.Logf("%d events were acknowledged while two servers were killed %d times each, and came once each to both others, in %v", len(acknowledged), *rounds, time.Since(began))
}

// TestAwayForLong: what waits for a server that is away takes a bounded part of memory, and when the server is back it gets all of it, in
// every room, each event once.
func TestAwayForLong(t *testing.T) {
	t.Parallel()
	const rooms, messages = 5, 440 // more than a destination keeps in memory (destination.queueBound)
	servers := peers.Start(t, 2, "federation.retry_longest=1s")
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	said := make([][]string, rooms)
	ids := make([]string, rooms)
	for i := range rooms {
		ids[i] = alice.create(J{"preset": "public_chat"})
		bob.joinVia(ids[i], servers[0].Name)
		alice.seesMember(ids[i], bob.UserID, "join")
	}
	servers[1].Kill()
	var talking sync.WaitGroup
	for i := range rooms {
		talking.Go(func() {
			for n := range messages {
				id, err := alice.Send(t.Context(), ids[i], "m.room.message", fmt.Sprint("away", n), J{"msgtype": "m.text", "body": fmt.Sprint(n)})
				if err != nil {
					t.Error(err)
					return
				}
				said[i] = append(said[i], id)
			}
		})
	}
	talking.Wait()
	status := destinations(t, servers[0], "inspect", servers[1].Name)
	if found := waiting.FindStringSubmatch(status); found == nil {
		t.Error(status)
	} else if n, err := strconv.Atoi(found[1]); err != nil || n > 2000 {
		t.Errorf("the destination holds too much: %s", status)
	}
	servers[1].Run()
	for i, roomID := range ids {
		bob.eventually("the newest message", func() bool {
			_, err := bob.Do(t.Context(), "GET", matrixclient.Path("rooms", roomID, "event", said[i][messages-1]), nil)
			return err == nil
		})
		seen := history(bob, roomID)
		for n, id := range said[i] {
			if seen[id] != 1 {
				t.Errorf("message %d of room %d is there %d times", n, i, seen[id])
			}
		}
	}
}

// waiting finds how many events a destination knows to wait.
var waiting = regexp.MustCompile(`(?m)^events waiting +(\d+)`)

// history counts the events of a room as the user sees them.
func history(p *person, roomID string) map[string]int {
	p.t.Helper()
	seen := map[string]int{}
	for _, e := range everything(p, roomID) {
		seen[e.Get("event_id").Str]++
	}
	return seen
}

// everything pages back to the beginning of a room.
func everything(p *person, roomID string) (events []gjson.Result) {
	p.t.Helper()
	for from := ""; ; {
		path := matrixclient.Path("rooms", roomID, "messages") + "?dir=b&limit=500"
		if from != "" {
			path += "&from=" + from
		}
		page := p.do("GET", path, nil)
		events = append(events, page.Get("chunk").Array()...)
		if from = page.Get("end").Str; from == "" {
			return events
		}
	}
}
