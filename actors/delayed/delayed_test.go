package delayed_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/delayed"
	userdelayed "github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

type J = actortest.J

// sender sends what is due in the world; check may be nil.
func sender(w *actortest.World, check delayed.Check) *delayed.Sender {
	if check == nil {
		check = func(context.Context, string, *messages.Proposal, bool) error { return nil }
	}
	return delayed.New(delayed.Options{Store: w.Store, Caller: w.Node, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler), Check: check})
}

func schedule(d *actortest.Device, roomID, id string, delay time.Duration) {
	d.World.T.Helper()
	if _, err := d.World.AskUser(d.User, &messages.ScheduleDelayedEvent{By: d.By(), DelayId: id, RoomId: roomID, Type: "m.room.message",
		Content: d.World.JSON(J{"body": id}), DelayMs: delay.Milliseconds(), MaxScheduled: 1000}); err != nil {
		d.World.T.Fatal(err)
	}
}

// sent counts the events of the room that are delayed ones.
func sent(w *actortest.World, roomID string) map[string]int {
	w.T.Helper()
	counts := map[string]int{}
	rows, err := schema.Events.All(context.Background(), w.Store, persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: roomID}, Keys: 1})
	if err != nil {
		w.T.Fatal(err)
	}
	for _, row := range rows {
		if row.Type == "m.room.message" {
			counts[row.TxnID]++
		}
	}
	return counts
}

func onlyOnce(t *testing.T, counts map[string]int, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if counts[id] != 1 {
			t.Errorf("%s was sent %d times", id, counts[id])
		}
	}
	if len(counts) != len(ids) {
		t.Errorf("the room has %v", counts)
	}
}

func TestWhatWasDueWhileTheServerWasDown(t *testing.T) {
	t.Parallel()
	w := actortest.OnDisk(t, t.TempDir())
	alice := w.User("alice")
	room := alice.Create(J{})
	schedule(alice, room, "second", 2*time.Minute)
	schedule(alice, room, "first", time.Minute)
	schedule(alice, room, "third", time.Hour)
	w.Clock.Advance(10 * time.Minute)
	w.Restart()
	sender(w, nil).SendDue(t.Context())
	onlyOnce(t, sent(w, room), "first", "second")
	finalised, err := userdelayed.Finalised(t.Context(), w.Store, alice.User)
	if err != nil || len(finalised) != 2 {
		t.Fatalf("%v %v", finalised, err)
	}
	scheduled, err := userdelayed.Scheduled(t.Context(), w.Store, alice.User)
	if err != nil || len(scheduled) != 1 || scheduled[0].DelayID != "third" {
		t.Fatalf("%v %v", scheduled, err)
	}
}

// The node died while it sent: before the room had the event, or after.
func TestAttemptOfUnknownFate(t *testing.T) {
	t.Parallel()
	for name, had := range map[string]bool{"the room had it": true, "the room did not have it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := actortest.New(t)
			alice := w.User("alice")
			room := alice.Create(J{})
			schedule(alice, room, "x", time.Minute)
			w.Clock.Advance(time.Minute)
			ask := func(m proto.Message) error {
				_, err := w.AskUser(alice.User, m)
				return err
			}
			if err := ask(&messages.BeginDelayedEvent{DelayId: "x"}); err != nil {
				t.Fatal(err)
			}
			if had {
				alice.Room(room, &messages.SendEvent{By: &messages.Requester{UserId: alice.User, DeviceId: "org.matrix.msc4140"}, TxnId: "x",
					Event: &messages.Proposal{Type: "m.room.message", Sender: alice.User, Content: w.JSON(J{"body": "x"})}})
			}
			restart := 409
			if had {
				restart = 404 // as of any that has been sent
			}
			for m, status := range map[proto.Message]int{&messages.CancelDelayedEvent{DelayId: "x"}: 409, &messages.RestartDelayedEvent{DelayId: "x"}: restart} {
				if err := ask(m); mxerr.From(err).Status != status {
					t.Errorf("%T while it is sent: %v", m, err)
				}
			}
			s := sender(w, nil)
			s.SendDue(t.Context()) // the attempt may be under way still
			w.Clock.Advance(time.Minute)
			s.SendDue(t.Context())
			onlyOnce(t, sent(w, room), "x")
		})
	}
}

// Two nodes may think that it is theirs to send.
func TestTwoSenders(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	var ids []string
	rooms := []string{alice.Create(J{}), alice.Create(J{})}
	for i := range 20 {
		id := "d" + strconv.Itoa(i)
		ids = append(ids, id)
		schedule(alice, rooms[i%2], id, time.Second)
	}
	schedule(bob, rooms[0], "not allowed", time.Second)
	w.Clock.Advance(time.Second)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { sender(w, nil).SendDue(t.Context()) })
	}
	for _, id := range ids[:5] {
		both.Go(func() {
			if err := sender(w, nil).Send(t.Context(), alice.User, id); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	all := sent(w, rooms[0])
	for id, n := range sent(w, rooms[1]) {
		all[id] += n
	}
	onlyOnce(t, all, ids...)
	finalised, err := userdelayed.Finalised(t.Context(), w.Store, alice.User)
	if err != nil || len(finalised) != len(ids) {
		t.Fatalf("%d are finalised: %v", len(finalised), err)
	}
	for _, f := range finalised {
		if f.EventID == "" {
			t.Errorf("%s: %s", f.DelayID, f.Error)
		}
	}
	refused, err := userdelayed.Finalised(t.Context(), w.Store, bob.User)
	if err != nil || len(refused) != 1 || refused[0].EventID != "" || len(refused[0].Error) == 0 {
		t.Errorf("%v %v", refused, err)
	}
}

// The user sends too fast, which ends the event; the server cannot, which does not.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	room := alice.Create(J{})
	schedule(alice, room, "too fast", time.Second)
	w.Clock.Advance(time.Second)
	sender(w, func(context.Context, string, *messages.Proposal, bool) error { return mxerr.LimitExceeded(1000) }).SendDue(t.Context())
	_, finalised, err := userdelayed.Find(t.Context(), w.Store, alice.User, "too fast")
	if err != nil || finalised == nil || string(finalised.Error) != `{"errcode":"M_LIMIT_EXCEEDED","error":"too many requests; try again in 1000 ms","retry_after_ms":1000}` {
		t.Fatalf("%v %v", finalised, err)
	}

	schedule(alice, room, "later", time.Second)
	w.Clock.Advance(time.Second)
	broken := sender(w, func(context.Context, string, *messages.Proposal, bool) error { return context.DeadlineExceeded })
	for range 3 {
		broken.SendDue(t.Context())
		w.Clock.Advance(time.Minute)
	}
	onlyOnce(t, sent(w, room))
	sender(w, nil).SendDue(t.Context())
	onlyOnce(t, sent(w, room), "later")
}

// Many are finalised: the oldest are forgotten.
func TestFinalisedAreBounded(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	room := alice.Create(J{})
	for i := range 105 {
		id := "d" + strconv.Itoa(i)
		schedule(alice, room, id, time.Hour)
		w.Clock.Advance(time.Second)
		if _, err := w.AskUser(alice.User, &messages.CancelDelayedEvent{DelayId: id}); err != nil {
			t.Fatal(err)
		}
	}
	finalised, err := userdelayed.Finalised(t.Context(), w.Store, alice.User)
	if err != nil || len(finalised) != 100 || finalised[0].DelayID != "d104" {
		t.Fatalf("%d: %v", len(finalised), err)
	}
	if _, _, err := userdelayed.Find(t.Context(), w.Store, alice.User, "d0"); mxerr.From(err).Code != "M_NOT_FOUND" {
		t.Error(err)
	}
}

// What takes another server is tried for some minutes while that does not answer. What was done by an attempt that nobody knows the end of is not
// done again.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	room := alice.Create(J{})
	var attempts []bool
	answers := false
	s := delayed.New(delayed.Options{Store: w.Store, Caller: w.Node, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Check: func(context.Context, string, *messages.Proposal, bool) error { return nil },
		Elsewhere: func(_ context.Context, _ string, event *messages.Proposal, again bool) (*messages.EventSent, error) {
			switch {
			case string(event.Content) == `{"body":"here"}`:
				return nil, nil
			case answers:
				return &messages.EventSent{EventId: "$there"}, nil
			}
			attempts = append(attempts, again)
			return nil, mxerr.New(502, "M_UNKNOWN", "it does not answer")
		}})
	schedule(alice, room, "here", time.Minute)
	schedule(alice, room, "there", time.Minute)
	for range 20 {
		w.Clock.Advance(5 * time.Minute)
		s.SendDue(t.Context())
	}
	onlyOnce(t, sent(w, room), "here")
	_, finalised, err := userdelayed.Find(t.Context(), w.Store, alice.User, "there")
	if err != nil || finalised == nil || string(finalised.Error) != `{"errcode":"M_UNKNOWN","error":"it does not answer"}` || len(attempts) != 9 || attempts[0] || !attempts[8] {
		t.Errorf("%+v after %v, %v", finalised, attempts, err)
	}
	answers = true
	schedule(alice, room, "soon", time.Minute)
	w.Clock.Advance(time.Minute)
	s.SendDue(t.Context())
	if _, finalised, err = userdelayed.Find(t.Context(), w.Store, alice.User, "soon"); err != nil || finalised == nil || finalised.EventID != "$there" {
		t.Errorf("%+v, %v", finalised, err)
	}
}
