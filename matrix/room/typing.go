package room

import (
	"slices"
)

// typing knows who types. It is not durable.
type typing struct {
	by      map[string]typist
	changed bool
	again   []string // who goes on typing, to be told
	armed   int64    // when TypingExpired was asked for
}

// typist is a user who types.
type typist struct {
	until int64 // ms
	again int64 // when it is told again that the user types, ms; 0: never
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
	again := int64(0)
	if d.local(in.UserID) {
		again = in.Now + typingAgainMS
	}
	d.m.typing.start(in.UserID, typist{in.Now + min(max(timeout, minTypingMS), maxTypingMS), again})
	return nil
}

func (t *typing) start(userID string, now typist) {
	if t.by == nil {
		t.by = map[string]typist{}
	}
	if was, ok := t.by[userID]; ok {
		now.again = was.again
	} else {
		t.changed = true
	}
	t.by[userID] = now
}

func (t *typing) stop(userID string) {
	if _, ok := t.by[userID]; ok {
		delete(t.by, userID)
		t.changed = true
	}
}

// expire stops those whose time is up. The caller's timer has gone off.
func (t *typing) expire(now int64) {
	t.armed = 0
	for userID, who := range t.by {
		switch {
		case who.until <= now:
			delete(t.by, userID)
			t.changed = true
		case who.again != 0 && who.again <= now:
			t.again = append(t.again, userID)
			who.again = now + typingAgainMS
			t.by[userID] = who
		}
	}
}

// take gives who types when that changed, who goes on typing, and when to look again unless an earlier look is due anyway.
func (t *typing) take() (changed bool, users, again []string, next int64) {
	changed, t.changed = t.changed, false
	again, t.again = t.again, nil
	slices.Sort(again)
	for userID, who := range t.by {
		users = append(users, userID)
		for _, due := range []int64{who.until, who.again} {
			if due != 0 && (next == 0 || due < next) {
				next = due
			}
		}
	}
	slices.Sort(users)
	if next == 0 || t.armed != 0 && t.armed <= next {
		return changed, users, again, 0
	}
	t.armed = next
	return changed, users, again, next
}
