package syncer

import (
	"sync"

	"github.com/maypok86/otter/v2"
)

// The bounds of what is remembered of lazily loaded members. What is forgotten is merely sent again.
const (
	lazyDevices        = 10_000
	lazyMembersPerUser = 20_000
)

// lazyMembers remembers, for each device, which membership events it has been sent, so that they are not sent again
// (client-server API, "Lazy-loading room members"). A device has received an answer only when it comes back with its
// token, so what an answer held counts from then on.
type lazyMembers struct {
	devices *otter.Cache[deviceKey, *lazyDevice]
}

type deviceKey struct{ user, device string }

type lazyDevice struct {
	mu      sync.Mutex
	sent    map[memberKey]uint64 // the number of the membership event
	pending map[memberKey]uint64
	token   string // of the answer that held pending
}

type memberKey struct{ roomID, userID string }

func newLazyMembers() (*lazyMembers, error) {
	devices, err := otter.New(&otter.Options[deviceKey, *lazyDevice]{MaximumSize: lazyDevices})
	return &lazyMembers{devices}, err
}

// lazySession is one sync's use of the memory.
type lazySession struct {
	device *lazyDevice
	sent   map[memberKey]uint64
	adding map[memberKey]uint64
}

// session begins a sync that continues from the token; without one everything is forgotten.
func (l *lazyMembers) session(user, device, since string) *lazySession {
	key := deviceKey{user, device}
	d, ok := l.devices.GetIfPresent(key)
	if !ok {
		d = &lazyDevice{}
		l.devices.Set(key, d)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case since == "" || len(d.sent) > lazyMembersPerUser:
		d.sent = nil
	case since == d.token && len(d.pending) > 0:
		merged := make(map[memberKey]uint64, len(d.sent)+len(d.pending))
		for k, v := range d.sent {
			merged[k] = v
		}
		for k, v := range d.pending {
			merged[k] = v
		}
		d.sent = merged
	}
	d.pending, d.token = nil, ""
	return &lazySession{device: d, sent: d.sent}
}

// redundant reports whether the device has this membership event.
func (s *lazySession) redundant(roomID, userID string, seq uint64) bool {
	return s.sent[memberKey{roomID, userID}] == seq
}

func (s *lazySession) add(roomID, userID string, seq uint64) {
	if s.adding == nil {
		s.adding = map[memberKey]uint64{}
	}
	s.adding[memberKey{roomID, userID}] = seq
}

// finish ties what was added to the answer's token.
func (s *lazySession) finish(token string) {
	if len(s.adding) == 0 {
		return
	}
	s.device.mu.Lock()
	defer s.device.mu.Unlock()
	s.device.pending, s.device.token = s.adding, token
}
