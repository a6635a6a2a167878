package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// world is who takes part.
type world struct {
	client   *matrixclient.Client // nobody's
	rooms    []string
	senders  []*sender
	watchers []*watcher
	sleeper  *matrixclient.Client // does not sync before the end
	auditor  *auditor
	ledger   *ledger
}

// newWorld makes users and rooms that all of them are in. The watchers have synced for the first time.
func newWorld(ctx context.Context, t *testing.T, nobody *matrixclient.Client, random func(uint64) *rand.Rand) *world {
	t.Helper()
	w := &world{client: nobody, ledger: newLedger()}
	user := func(name string) *matrixclient.Client {
		u, err := nobody.Register(ctx, name, password)
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range w.rooms {
			if err := u.Join(ctx, room); err != nil {
				t.Fatal(err)
			}
		}
		w.ledger.passwords[name] = u
		return u
	}
	owner := user("owner")
	for range manyRooms {
		room, err := owner.CreateRoom(ctx, J{"preset": "public_chat", "power_level_content_override": J{"events": J{stateType: 0}}})
		if err != nil {
			t.Fatal(err)
		}
		w.rooms = append(w.rooms, room)
	}
	devices := map[string][]string{}
	for i, limit := range []int{3, 40} {
		u := user(fmt.Sprintf("watcher%d", i))
		devices[u.UserID] = []string{u.DeviceID}
		reader := newWatcher(u, limit, w.rooms, random(100+uint64(i)))
		if err := reader.step(ctx, 0); err != nil {
			t.Fatal(err)
		}
		w.watchers = append(w.watchers, reader)
	}
	w.sleeper = user("sleeper")
	devices[w.sleeper.UserID] = []string{w.sleeper.DeviceID}
	w.auditor = newAuditor(user("auditor"), w.rooms, w.ledger)
	for i := range manySenders {
		name := fmt.Sprintf("sender%d", i)
		w.senders = append(w.senders, &sender{
			Client: user(name), name: name, rooms: w.rooms, devices: devices, rng: random(1 + uint64(i)), ledger: w.ledger,
			latest: map[string]string{},
		})
	}
	return w
}

// mark ends the work: after the marks nothing comes any more.
func (w *world) mark(ctx context.Context) error {
	s := w.senders[0]
	for _, room := range w.rooms {
		eventID, err := s.Send(ctx, room, markType, "end", J{})
		if err != nil {
			return err
		}
		w.ledger.event(room, eventID, s.UserID)
	}
	return s.toDevice(ctx, markNumber)
}
