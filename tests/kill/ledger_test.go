package kill

import (
	"sync"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// sent is an event that the server has acknowledged.
type sent struct {
	roomID, eventID, sender string
}

// ledger is what the server has acknowledged, which it must keep.
type ledger struct {
	mu        sync.Mutex
	events    []sent                          // in the order of the answers, so also in that of each sender
	redacted  map[string]bool                 // by event id
	toDevice  map[string][]int64              // by sender: what was sent to each device, in order
	state     map[[2]string]int64             // by room and state key
	data      map[[2]string]int64             // account data, by user and room ("" for the user's own)
	receipts  map[[2]string]string            // by user and room: the event's id
	names     map[string]string               // displaynames by user
	joined    map[string][]string             // members by room
	sessions  []*matrixclient.Client          // logged in
	ended     []*matrixclient.Client          // logged out
	passwords map[string]*matrixclient.Client // accounts by name, all with the same password
}

func newLedger() *ledger {
	return &ledger{
		redacted: map[string]bool{}, toDevice: map[string][]int64{}, state: map[[2]string]int64{}, data: map[[2]string]int64{},
		receipts: map[[2]string]string{}, names: map[string]string{}, joined: map[string][]string{},
		passwords: map[string]*matrixclient.Client{},
	}
}

// note enters what has just been acknowledged.
func (l *ledger) note(enter func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	enter()
}

func (l *ledger) event(roomID, eventID, sender string) {
	l.note(func() { l.events = append(l.events, sent{roomID, eventID, sender}) })
}

// sentTo gives the events that have been acknowledged in the room so far.
func (l *ledger) sentTo(roomID string) []sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	var events []sent
	for _, e := range l.events {
		if e.roomID == roomID {
			events = append(events, e)
		}
	}
	return events
}
