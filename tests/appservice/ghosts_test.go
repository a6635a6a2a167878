package appservice

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// The size of the bridge: go test ./tests/appservice -run Ghosts -v -timeout 1h -args -ghosts 10000 -rooms 500
var (
	ghosts = flag.Int("ghosts", 1000, "how many users the bridge of TestManyGhosts has")
	rooms  = flag.Int("rooms", 50, "how many rooms they are spread over")
)

// A bridge with many users in many rooms receives everything once and in order, though the server is killed and the bridge is away meanwhile.
func TestManyGhosts(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	phase := func(name string, events int, start time.Time) {
		took := time.Since(start)
		t.Logf("%s: %v, %.0f/s; the server has %s", name, took.Round(time.Millisecond), float64(events)/took.Seconds(), memory(w.server.PID()))
	}

	all := make([]string, *rooms)
	for i := range all {
		all[i] = w.must(irc, "POST", "/createRoom", "", m{"preset": "public_chat"}).Get("room_id").Str
	}
	start := time.Now()
	byRoom := make([][]string, *rooms) // the ghosts
	for i := range *ghosts {
		byRoom[i%*rooms] = append(byRoom[i%*rooms], fmt.Sprintf("@_irc_g%d:localhost", i))
	}
	w.eachRoom(all, func(i int, _ string) {
		for _, ghost := range byRoom[i] {
			w.insist(irc, "POST", "/register", "", m{"type": "m.login.application_service", "username": ghost[1:strings.IndexByte(ghost, ':')], "inhibit_login": true})
		}
	})
	phase("registering", *ghosts, start)

	start = time.Now()
	w.eachRoom(all, func(i int, room string) {
		for _, ghost := range byRoom[i] {
			w.insist(irc, "POST", "/join/"+room, ghost, m{})
		}
	})
	phase("joining", *ghosts, start)

	// Half of the messages are sent around the death of the server, and a part of them while the bridge is away.
	start = time.Now()
	sent := make([][]string, *rooms)
	var killed sync.Once
	w.eachRoom(all, func(i int, room string) {
		for n, ghost := range byRoom[i] {
			if i == *rooms/2 && n == len(byRoom[i])/2 {
				killed.Do(func() {
					irc.respond(0)
					w.server.Kill()
					w.server.Run()
				})
			}
			answer := w.insist(irc, "PUT", "/rooms/"+room+"/send/m.room.message/"+fmt.Sprint(n), ghost, m{"body": "x"})
			sent[i] = append(sent[i], answer)
		}
	})
	phase("sending", *ghosts, start)
	start = time.Now()
	irc.respond(http.StatusOK)
	end := w.must(irc, "PUT", "/rooms/"+all[0]+"/send/m.room.message/end", "", m{"body": "x"}).Get("event_id").Str
	sent[0] = append(sent[0], end)
	irc.until("the last event", irc.came(end))
	phase("the rest came", *ghosts, start)

	got := map[string][]string{}
	joined := map[string]int{}
	for _, e := range irc.got("events") {
		switch room := e.Get("room_id").Str; e.Get("type").Str {
		case "m.room.message":
			got[room] = append(got[room], e.Get("event_id").Str)
		case "m.room.member":
			joined[e.Get("state_key").Str+" "+room]++
		}
	}
	for i, room := range all {
		if fmt.Sprint(got[room]) != fmt.Sprint(sent[i]) {
			t.Errorf("room %d: %d messages came of %d, or in another order", i, len(got[room]), len(sent[i]))
		}
		for _, ghost := range byRoom[i] {
			if n := joined[ghost+" "+room]; n != 1 {
				t.Errorf("that %s joined came %d times", ghost, n)
			}
		}
	}
}

// eachRoom does something in every room, in some at once.
func (w *world) eachRoom(rooms []string, f func(i int, room string)) {
	w.t.Helper()
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(32, len(rooms)) {
		workers.Go(func() {
			for i := range next {
				f(i, rooms[i])
			}
		})
	}
	for i := range rooms {
		next <- i
	}
	close(next)
	workers.Wait()
}

// insist asks until there is an answer, as bridges do while a server is away, and gives the id of the event if it made one.
func (w *world) insist(b *bridge, method, path, user string, body any) (eventID string) {
	w.t.Helper()
	for {
		answer, err := w.call(b, method, path, user, body)
		var no *matrixclient.Refusal
		switch {
		case err == nil:
			return answer.Get("event_id").Str
		case errors.As(err, &no) && no.Code == "M_USER_IN_USE": // the answer to the first attempt was lost
			return ""
		case w.ctx.Err() != nil || errors.As(err, &no) && no.Status < 500:
			w.t.Errorf("%s %s: %v", method, path, err)
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// came reports, whenever it is called, whether an event has come. It looks at every transaction once.
func (b *bridge) came(eventID string) func() bool {
	seen := 0
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for ; seen < len(b.order); seen++ {
			if strings.Contains(b.bodies[b.order[seen]], eventID) {
				return true
			}
		}
		return false
	}
}

// memory is how much a process has, as Linux tells it.
func memory(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
