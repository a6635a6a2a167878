package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// sent is a send in the recorded history.
type sent struct {
	text     string
	sender   int
	room     int
	eventID  string // empty: not acknowledged
	from, to time.Time
}

// workload is continuous use of the homeserver by some people, and the record of it.
type workload struct {
	t     *testing.T
	web   *web
	name  string // what those of the users begin with
	users []*user
	rooms []string

	stopSending context.CancelFunc
	senders     sync.WaitGroup
	syncers     sync.WaitGroup
	heard       []*listener // by user

	mu      sync.Mutex
	sends   []sent
	devices map[[2]int][]int // acknowledged to-device messages, by sender and target
	errs    []error
}

// listener is what one user's syncs brought.
type listener struct {
	user    *user
	started chan struct{}
	rooms   map[string]*heardRoom
	devices map[string][]int // by sender
	gaps    int
	done    bool
}

type heardRoom struct {
	messages []message
	known    map[string]bool // every event, of whatever type
}

const (
	people = 6
	rooms  = 6
	final  = "the end" // the last message of every room
)

// crowds counts the groups of people in this process, whose names must differ.
var crowds atomic.Int64

// begin registers people, makes rooms that all are in, and has everybody send and sync through all nodes.
func begin(t *testing.T, w *web) *workload {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l := &workload{t: t, web: w, devices: map[[2]int][]int{}}
	l.name = fmt.Sprintf("crowd%d-", crowds.Add(1))
	for i := range people {
		u, err := register(ctx, w, l.name+strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		l.users = append(l.users, u)
	}
	for i := range rooms {
		answer, err := l.users[i%people].once(ctx, "POST", "/createRoom", map[string]any{"preset": "public_chat"})
		if err != nil {
			t.Fatal(err)
		}
		roomID := answer.Get("room_id").Str
		l.rooms = append(l.rooms, roomID)
		for _, u := range l.users {
			if _, err := u.do(ctx, "POST", "/join/"+url.PathEscape(roomID), map[string]any{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, u := range l.users {
		h := &listener{user: u, started: make(chan struct{}), rooms: map[string]*heardRoom{}, devices: map[string][]int{}}
		l.heard = append(l.heard, h)
		l.syncers.Go(func() { l.listen(h) })
	}
	for _, h := range l.heard {
		<-h.started
	}
	sending, stop := context.WithCancel(context.Background())
	l.stopSending = stop
	for i := range people {
		l.senders.Go(func() { l.chat(sending, i) })
	}
	l.senders.Go(func() { l.comeAndGo(sending) })
	return l
}

func (l *workload) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

// chat sends without a pause, each message until it is acknowledged.
func (l *workload) chat(ctx context.Context, me int) {
	u := l.users[me]
	toDevice := map[int]int{}
	for n := 0; ctx.Err() == nil; n++ {
		room := rand.IntN(len(l.rooms))
		s := sent{text: fmt.Sprintf("%d:%d", me, n), sender: me, room: room, from: time.Now()}
		patient, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		var err error
		s.eventID, err = u.send(patient, l.rooms[room], "t"+strconv.Itoa(n), s.text)
		s.to = time.Now()
		if err != nil {
			l.fail("%s could not send: %w", u.id, err)
		}
		l.mu.Lock()
		l.sends = append(l.sends, s)
		l.mu.Unlock()
		if n%3 == 0 {
			to := rand.IntN(len(l.users))
			toDevice[to]++
			if err := u.toDevice(patient, l.users[to], "d"+strconv.Itoa(n), toDevice[to]); err != nil {
				l.fail("%s could not send to a device: %w", u.id, err)
			} else {
				l.mu.Lock()
				l.devices[[2]int{me, to}] = append(l.devices[[2]int{me, to}], toDevice[to])
				l.mu.Unlock()
			}
		}
		cancel()
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
}

// comeAndGo has somebody join and leave all the time.
func (l *workload) comeAndGo(ctx context.Context) {
	patient, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	u, err := register(patient, l.web, l.name+"visitor")
	if err != nil {
		l.fail("a visitor could not register: %w", err)
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		room := url.PathEscape(l.rooms[n%len(l.rooms)])
		for _, path := range []string{"/join/" + room, "/rooms/" + room + "/leave"} {
			if _, err := u.do(patient, "POST", path, map[string]any{}); err != nil {
				l.fail("the visitor: %s: %w", path, err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// listen syncs until the last message of every room has come.
func (l *workload) listen(h *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	filter := url.QueryEscape(`{"room":{"timeline":{"limit":15}}}`)
	since := ""
	for !h.done {
		path := "/sync?timeout=3000&filter=" + filter
		if since != "" {
			path += "&since=" + url.QueryEscape(since)
		}
		answer, err := h.user.do(ctx, "GET", path, nil)
		if err != nil {
			l.fail("%s could not sync: %w", h.user.id, err)
			return
		}
		if err := h.take(ctx, answer, since == ""); err != nil {
			l.fail("%s: %w", h.user.id, err)
			return
		}
		if since == "" {
			close(h.started)
		}
		since = answer.Get("next_batch").Str
	}
}

func (h *listener) take(ctx context.Context, answer gjson.Result, first bool) (err error) {
	answer.Get("to_device.events").ForEach(func(_, e gjson.Result) bool {
		h.devices[e.Get("sender").Str] = append(h.devices[e.Get("sender").Str], int(e.Get("content.n").Int()))
		return true
	})
	answer.Get("rooms.join").ForEach(func(id, room gjson.Result) bool {
		err = h.room(ctx, id.Str, room.Get("timeline"), first)
		return err == nil
	})
	if err != nil {
		return err
	}
	h.done = len(h.rooms) == rooms
	for _, r := range h.rooms {
		h.done = h.done && len(r.messages) > 0 && r.messages[len(r.messages)-1].text == final
	}
	return nil
}

func (h *listener) room(ctx context.Context, id string, timeline gjson.Result, first bool) error {
	r := h.rooms[id]
	if r == nil {
		r = &heardRoom{known: map[string]bool{}}
		h.rooms[id] = r
	}
	if timeline.Get("limited").Bool() && !first {
		h.gaps++
		missed, err := h.user.back(ctx, id, timeline.Get("prev_batch").Str, func(eventID string) bool { return r.known[eventID] })
		if err != nil {
			return fmt.Errorf("a gap could not be filled: %w", err)
		}
		r.messages = append(r.messages, missed...)
	}
	r.messages = append(r.messages, messagesOf(timeline.Get("events"))...)
	timeline.Get("events.#.event_id").ForEach(func(_, id gjson.Result) bool {
		r.known[id.Str] = true
		return true
	})
	return nil
}

// slowest is how long the slowest send took of those that were under way in this time, and when it began.
func (l *workload) slowest(from, to time.Time) (took time.Duration, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sends {
		if s.from.Before(to) && s.to.After(from) && s.to.Sub(s.from) > took {
			took, at = s.to.Sub(s.from), s.from
		}
	}
	return took.Round(time.Millisecond), at
}

// end stops the sending and waits until everybody has heard everything.
func (l *workload) end() {
	l.t.Helper()
	l.stopSending()
	l.senders.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for i, roomID := range l.rooms {
		u := l.users[i%people]
		s := sent{text: final, sender: i % people, room: i, from: time.Now()}
		var err error
		if s.eventID, err = u.send(ctx, roomID, "end"+strconv.Itoa(i), final); err != nil {
			l.fail("%s could not send the end: %w", u.id, err)
		}
		s.to = time.Now()
		l.sends = append(l.sends, s)
	}
	l.syncers.Wait()
	for _, err := range l.errs {
		l.t.Error(err)
	}
}

// counter is the number in a text that chat made.
func counter(text string) int {
	_, n, _ := strings.Cut(text, ":")
	i, err := strconv.Atoi(n)
	if err != nil {
		return -1
	}
	return i
}
