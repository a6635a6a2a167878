package room

import (
	"slices"
	"testing"
)

// TestTypingIsToldAgain: other servers hear every half minute of those of ours who go on typing, and of nobody else.
func TestTypingIsToldAgain(t *testing.T) {
	t.Parallel()
	var ty typing
	ty.start("@us:test", typist{until: 100_000, again: typingAgainMS})
	ty.start("@them:other", typist{until: 100_000})
	changed, users, again, next := ty.take()
	if !changed || len(users) != 2 || len(again) != 0 || next != typingAgainMS {
		t.Fatal(changed, users, again, next)
	}
	ty.start("@us:test", typist{until: 110_000, again: 50_000}) // they press another key
	for now := typingAgainMS; now < 110_000; now = next {
		ty.expire(now)
		changed, users, again, next = ty.take()
		if want := now < 100_000 || now > 100_000; want && (changed || len(users) == 0) {
			t.Errorf("at %d: %v %v", now, changed, users)
		}
		if told := slices.Equal(again, []string{"@us:test"}); told != (now%typingAgainMS == 0) {
			t.Errorf("at %d told again: %v", now, again)
		}
		if next <= now {
			t.Fatalf("at %d the next look is at %d", now, next)
		}
	}
	ty.expire(110_000)
	if changed, users, again, next = ty.take(); !changed || len(users)+len(again) > 0 || next != 0 {
		t.Error(changed, users, again, next)
	}
}
