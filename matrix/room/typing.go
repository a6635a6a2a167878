package room

import (
	"slices"
)

// typing knows who types until when. It is not durable.
type typing struct {
	until   map[string]int64 // ms
	changed bool
	armed   int64 // when TypingExpired was asked for
}

// setTyping starts or stops the user's notification.
func (d *draft) setTyping(in SetTyping) error {
	if err := d.requireJoined(in.UserID, "type"); err != nil {
		return err
	}
	if !in.Typing {
		d.m.typing.stop(in.UserID)
		return nil
	}
	timeout := in.TimeoutMS
	if timeout <= 0 {
		timeout = defaultTyping
	}
	d.m.typing.start(in.UserID, in.Now+min(max(timeout, minTypingMS), maxTypingMS))
	return nil
}

func (t *typing) start(userID string, until int64) {
	if t.until == nil {
		t.until = map[string]int64{}
	}
	if _, ok := t.until[userID]; !ok {
		t.changed = true
	}
	t.until[userID] = until
}

func (t *typing) stop(userID string) {
	if _, ok := t.until[userID]; ok {
		delete(t.until, userID)
		t.changed = true
	}
}

// expire stops those whose time is up. The caller's timer has gone off.
func (t *typing) expire(now int64) {
	t.armed = 0
	for userID, until := range t.until {
		if until <= now {
			delete(t.until, userID)
			t.changed = true
		}
	}
}

// take gives who types when that changed, and when to look again unless an earlier look is due anyway.
func (t *typing) take() (changed bool, users []string, next int64) {
	changed, t.changed = t.changed, false
	for userID, until := range t.until {
		users = append(users, userID)
		if next == 0 || until < next {
			next = until
		}
	}
	slices.Sort(users)
	if next == 0 || t.armed != 0 && t.armed <= next {
		return changed, users, 0
	}
	t.armed = next
	return changed, users, next
}
