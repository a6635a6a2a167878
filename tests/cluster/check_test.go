package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// check holds the record against what the homeserver has now.
func (l *workload) check() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for i, roomID := range l.rooms {
		log, err := l.users[i%people].back(ctx, roomID, "", func(string) bool { return false })
		if err != nil {
			l.t.Fatal(err)
		}
		l.checkRoom(i, log)
		for _, h := range l.heard {
			if got := h.rooms[roomID].messages; !slices.Equal(got, log) {
				l.t.Errorf("%s heard room %d otherwise than it is: %s", h.user.id, i, difference(got, log))
			}
		}
	}
	l.checkDevices()
	gaps := 0
	for _, h := range l.heard {
		gaps += h.gaps
	}
	l.t.Logf("%d messages sent, %d gaps filled", len(l.sends), gaps)
}

// checkRoom wants every acknowledged message exactly once, those of one sender in their order, and the room to be a log
// that takes one message after another: linearizable.
func (l *workload) checkRoom(room int, log []message) {
	l.t.Helper()
	at := map[string]int{} // by text
	last := map[string]int{}
	for i, m := range log {
		if _, twice := at[m.text]; twice {
			l.t.Errorf("room %d has %q twice", room, m.text)
		}
		at[m.text] = i
		if n := counter(m.text); n >= 0 {
			if before, ok := last[m.sender]; ok && before >= n {
				l.t.Errorf("room %d has %q after number %d of the same sender", room, m.text, before)
			}
			last[m.sender] = n
		}
	}
	var operations []porcupine.Operation
	for _, s := range l.sends {
		if s.room != room {
			continue
		}
		i, there := at[s.text]
		switch {
		case s.eventID != "" && !there:
			l.t.Errorf("room %d has lost %q, which was acknowledged as %s", room, s.text, s.eventID)
			continue
		case s.eventID != "" && log[i].id != s.eventID:
			l.t.Errorf("%q was acknowledged as %s and is %s", s.text, s.eventID, log[i].id)
		case !there:
			continue
		}
		operations = append(operations, porcupine.Operation{ClientId: s.sender, Input: i, Call: s.from.UnixNano(), Return: s.to.UnixNano()})
	}
	if len(operations) != len(log) {
		l.t.Errorf("room %d has %d messages, of which %d were sent", room, len(log), len(operations))
	}
	// The room's state is how many messages it has. Appending one as the i-th is right when it has i.
	model := porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			has, ok := state.(int)
			return ok && input == has, has + 1
		},
	}
	if !porcupine.CheckOperations(model, operations) {
		l.t.Errorf("the order of room %d is not one in which its messages can have been acknowledged", room)
	}
}

// checkDevices wants every acknowledged message to a device exactly once, those of one sender in their order.
func (l *workload) checkDevices() {
	l.t.Helper()
	for pair, acknowledged := range l.devices {
		got := l.heard[pair[1]].devices[l.users[pair[0]].id]
		if !slices.Equal(got, acknowledged) {
			l.t.Errorf("messages from %s to the device of %s: %s", l.users[pair[0]].id, l.users[pair[1]].id, difference(got, acknowledged))
		}
	}
}

func difference[T comparable](got, want []T) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("number %d of %d is %v, not %v (of %d)", i, len(got), got[i], want[i], len(want))
		}
	}
	return fmt.Sprintf("%d instead of %d", len(got), len(want))
}
