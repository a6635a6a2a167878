package syncer

import (
	"github.com/matrixon/matrixon/persistence/cache"
	"maps"
	"sync"
)

// The bounds of what is remembered of lazily loaded members. What is forgotten is merely sent again.
const (
	lazyDevices        = 10_000
	lazyMembersPerUser = 20_000
)

// lazyMembers remembers, for each device, which membership events it has been sent, so that they are not sent again
// (client-server API, "Lazy-loading room members"). What an answer held counts only for those who come back with a token that is
// at least as new as the answer's: others did not get it, or began again with an older token that they had stored.
type lazyMembers struct {
	devices *cache.Cache[deviceKey, *lazyDevice]
}

type deviceKey struct{ user, device string }

type lazyDevice struct {
	mu     sync.Mutex
	sent   map[memberKey]sentMember
	newest uint64 // position of the newest answer in sent
}

type memberKey struct{ roomID, userID string }

type sentMember struct {
	seq uint64 // the number of the membership event
	at  uint64 // the position of the answer that held it
}

func newLazyMembers() *lazyMembers {
	return &lazyMembers{cache.New(cache.Options[deviceKey, *lazyDevice]{Size: lazyDevices})}
}

// lazySession is one sync's use of the memory.
type lazySession struct {
	device *lazyDevice
	since  uint64
	adding map[memberKey]uint64
}

// session begins a sync that continues from the position; with 0, which is an initial sync, everything is forgotten.
func (l *lazyMembers) session(user, device string, since uint64) *lazySession {
	key := deviceKey{user, device}
	d, ok := l.devices.Get(key)
	if !ok {
		d = &lazyDevice{}
		l.devices.Set(key, d)
	}
	d.forget(since)
	return &lazySession{device: d, since: since}
}

// forget drops what came in answers after the position.
func (d *lazyDevice) forget(since uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case since == 0 || len(d.sent) > lazyMembersPerUser:
		d.sent, d.newest = nil, 0
	case d.newest > since:
		maps.DeleteFunc(d.sent, func(_ memberKey, m sentMember) bool { return m.at > since })
		d.newest = since
	}
}

// redundant reports whether the device has this membership event.
func (s *lazySession) redundant(roomID, userID string, seq uint64) bool {
	s.device.mu.Lock()
	defer s.device.mu.Unlock()
	m, ok := s.device.sent[memberKey{roomID, userID}]
	return ok && m.seq == seq && m.at <= s.since
}

func (s *lazySession) add(roomID, userID string, seq uint64) {
	if s.adding == nil {
		s.adding = map[memberKey]uint64{}
	}
	s.adding[memberKey{roomID, userID}] = seq
}

// finish remembers what was added to an answer up to this position. If the answer's token is no newer than the client's, then
// nothing will tell whether it arrived.
func (s *lazySession) finish(pos uint64) {
	if len(s.adding) == 0 || pos <= s.since {
		return
	}
	d := s.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sent == nil {
		d.sent = make(map[memberKey]sentMember, len(s.adding))
	}
	for key, seq := range s.adding {
		d.sent[key] = sentMember{seq, pos}
	}
	d.newest = max(d.newest, pos)
}
