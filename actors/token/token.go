// Package token writes and reads the opaque tokens that clients carry: where a sync stands, and where in a room's
// timeline a page ends. Tokens hold durable positions, so they outlive an activation, a crash and a move.
package token

import (
	"strconv"
	"strings"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Sync says what a device has received.
type Sync struct {
	// Pos: everything committed at or below it was delivered.
	Pos uint64
	// ToDevice: every to-device message at or below it was delivered; presenting the token acknowledges them.
	ToDevice uint64
	// Epoch and Ephemeral place the token in the ephemeral stream (typing) of one activation of the user's actor.
	Epoch, Ephemeral uint64
}

const syncPrefix = "m1_"

func (t Sync) String() string {
	return write(syncPrefix, t.Pos, t.ToDevice, t.Epoch, t.Ephemeral)
}

// ParseSync reads a token that String wrote; the error is 400 M_INVALID_PARAM.
func ParseSync(s string) (Sync, error) {
	var n [4]uint64
	if !read(s, syncPrefix, n[:]) {
		return Sync{}, invalid(s)
	}
	return Sync{Pos: n[0], ToDevice: n[1], Epoch: n[2], Ephemeral: n[3]}, nil
}

// Timeline is a gap between two events of a room: after the event numbered Seq, before the next. Paging back
// from it starts with Seq, paging forward with Seq+1.
type Timeline struct {
	Seq uint64
	// Until is set in the token for the beginning of a room, where nobody is a member yet: the number of the last event of the
	// timeline that begins there. GET /members?at= tells of the members then.
	Until uint64
}

const timelinePrefix = "t1_"

func (t Timeline) String() string {
	if t.Until != 0 {
		return write(timelinePrefix, t.Seq, t.Until)
	}
	return write(timelinePrefix, t.Seq)
}

// IsSync reports whether the token looks like one of a sync, simplified sliding sync included, which paging endpoints accept too.
func IsSync(s string) bool {
	return strings.HasPrefix(s, syncPrefix) || strings.HasPrefix(s, slidingPrefix)
}

// Position gives the position of a sync's token; the error is 400 M_INVALID_PARAM.
func Position(s string) (uint64, error) {
	if strings.HasPrefix(s, slidingPrefix) {
		t, err := ParseSliding(s)
		if err != nil {
			return 0, invalid(s)
		}
		return t.Pos, nil
	}
	t, err := ParseSync(s)
	return t.Pos, err
}

// ParseTimeline reads a token that String wrote; the error is 400 M_INVALID_PARAM.
func ParseTimeline(s string) (Timeline, error) {
	var n [2]uint64
	if !read(s, timelinePrefix, n[:1]) && !read(s, timelinePrefix, n[:]) {
		return Timeline{}, invalid(s)
	}
	return Timeline{Seq: n[0], Until: n[1]}, nil
}

// write joins numbers.
func write(prefix string, numbers ...uint64) string {
	b := make([]byte, 0, 64)
	b = append(b, prefix...)
	for i, n := range numbers {
		if i > 0 {
			b = append(b, '_')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return string(b)
}

// read takes apart what write wrote, if it is that.
func read(s, prefix string, numbers []uint64) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	parts := strings.Split(rest, "_")
	if !ok || len(parts) != len(numbers) {
		return false
	}
	for i, p := range parts {
		var err error
		if numbers[i], err = strconv.ParseUint(p, 10, 64); err != nil {
			return false
		}
	}
	return true
}

// Subscriptions is a position in the changes of a user's thread subscriptions, from which one pages back.
type Subscriptions struct{ Pos uint64 }

const subscriptionsPrefix = "ts1_"

func (t Subscriptions) String() string { return subscriptionsPrefix + strconv.FormatUint(t.Pos, 10) }

// ParseSubscriptions reads a token that String wrote, or the position of a sync; the error is 400 M_INVALID_PARAM.
func ParseSubscriptions(s string) (Subscriptions, error) {
	if IsSync(s) {
		pos, err := Position(s)
		return Subscriptions{pos}, err
	}
	rest, ok := strings.CutPrefix(s, subscriptionsPrefix)
	if !ok {
		return Subscriptions{}, invalid(s)
	}
	pos, err := strconv.ParseUint(rest, 10, 63)
	if err != nil {
		return Subscriptions{}, invalid(s)
	}
	return Subscriptions{pos}, nil
}

// Inbox is a position in the messages to a device, apart from any sync (MSC3814, MSC3885).
type Inbox struct{ Pos uint64 }

const inboxPrefix = "i1_"

func (t Inbox) String() string { return inboxPrefix + strconv.FormatUint(t.Pos, 10) }

// ParseInbox reads a token that String wrote; the error is 400 M_INVALID_PARAM.
func ParseInbox(s string) (Inbox, error) {
	rest, ok := strings.CutPrefix(s, inboxPrefix)
	if !ok {
		return Inbox{}, invalid(s)
	}
	pos, err := strconv.ParseUint(rest, 10, 63)
	if err != nil {
		return Inbox{}, invalid(s)
	}
	return Inbox{pos}, nil
}

func invalid(s string) error {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return mxerr.New(400, "M_INVALID_PARAM", "the token %q was not given out by this server", s)
}
